"""Label sets in a store: what is encoded again, what is refused, what comes back."""

import numpy as np
import pytest

from anmok.classify import Classifier, Label, LabelStore
from anmok.errors import FingerprintMismatch, LabelError, StoreError


def test_only_new_and_changed_labels_are_encoded(encoder, tmp_path):
    with LabelStore(tmp_path / "l.anmok", encoder, templates=["{}", "a {}"]) as store:
        store.add(["cat", "dog"])
        assert sorted(encoder.encoded_texts) == ["a cat", "a dog", "cat", "dog"]
        encoder.encoded_texts.clear()
        changes = store.add(["cat", Label("dog", synonyms=("puppy",)), "car"])
        assert (changes.added, changes.changed, changes.unchanged) == (("car",), ("dog",), ("cat",))
        assert sorted(encoder.encoded_texts) == ["a car", "a dog", "a puppy", "car", "dog", "puppy"]
        encoder.encoded_texts.clear()
        store.delete(["cat"])
        assert store.labels.names == ("dog", "car")
        assert encoder.encoded_texts == []


def test_reopened_store_gives_the_same_classifier_without_encoding(encoder, make_encoder, tmp_path):
    labels = [Label("tabby", ("striped cat",), "얼룩", "pet"), Label("dog"), Label("car")]
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        store.add(labels)
        store.threshold = 0.625
    again = make_encoder()
    classifier = Classifier.from_store(tmp_path / "l.anmok", again)
    assert again.encoded_texts == []
    assert tuple(classifier.labels) == tuple(labels)
    assert classifier.threshold == 0.625
    fresh = Classifier(encoder, labels)
    np.testing.assert_allclose(classifier.embeddings.vectors, fresh.embeddings.vectors, atol=1e-3)


def test_order_is_kept_through_changes(encoder, tmp_path):
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        store.add(["z", "m", "a"])
        store.add([Label("z", ko="제트")])
        assert store.labels.names == ("z", "m", "a")
        embeddings = store.embeddings
        assert len(store) == 3
        np.testing.assert_allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-6)


def test_a_page_has_those_that_begin_so_in_their_order_and_reads_no_embeddings(encoder, tmp_path, monkeypatch):
    names = ["cat", "car", "카메라", "ca", "dog", "카드", "c%", "C"]
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        assert store.page(0, 10) == (0, [])
        store.add(names)
        store.add([Label("car", ("auto",), "차", "cat")])  # what is changed keeps its place
        monkeypatch.setattr("anmok.store.store.unpack", None)
        for prefix in ("", "c", "ca", "카", "d", "dogs", "%", "c%"):
            wanted = [name for name in names if name.startswith(prefix)]
            total, labels = store.page(0, 10, prefix=prefix)
            assert total == len(wanted) and [label.name for label in labels] == wanted, prefix
        assert [label.name for label in store.page(1, 3)[1]] == names[1:4]
        assert store.page(1, 1)[1] == [Label("car", ("auto",), "차", "cat")]
        assert store.page(2, 5, prefix="ca") == (3, [Label("ca")]) and store.page(10**30, 10**30) == (8, [])


def test_classifier_saves_itself(encoder, tmp_path):
    classifier = Classifier(encoder, ["cat", "dog"], templates=["{}"])
    classifier.threshold = 0.75
    encoder.encoded_texts.clear()
    classifier.save(tmp_path / "l.anmok")
    assert encoder.encoded_texts == []
    again = Classifier.from_store(tmp_path / "l.anmok", encoder)
    assert again.labels == classifier.labels
    assert again.threshold == 0.75
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        assert store.templates == ("{}",)
    with pytest.raises(LabelError, match="is there already"):
        classifier.save(tmp_path / "l.anmok")


def test_other_encoder_is_refused_naming_both(encoder, make_encoder, tmp_path):
    LabelStore(tmp_path / "l.anmok", encoder).close()
    other = make_encoder(fingerprint="0123")
    with pytest.raises(FingerprintMismatch, match=r"encoded by fake \(f{16}\), not by fake \(0123\)"):
        LabelStore(tmp_path / "l.anmok", other)


def test_other_templates_are_refused(encoder, tmp_path):
    LabelStore(tmp_path / "l.anmok", encoder, templates=["my {}"]).close()
    with pytest.raises(LabelError, match=r"made with other templates \(1: 'my \{\}', …\)"):
        LabelStore(tmp_path / "l.anmok", encoder, templates="small")
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        assert store.templates == ("my {}",)


def test_store_of_something_else_is_refused(encoder, tmp_path):
    from anmok.store import Store

    Store.open(tmp_path / "p.anmok", dimension=4, create=True, contract={"kind": "pictures"}).close()
    with pytest.raises(LabelError, match="is a store of pictures, not of labels"):
        LabelStore(tmp_path / "p.anmok", encoder)


def test_missing_and_empty_stores(encoder, tmp_path):
    with pytest.raises(StoreError):
        Classifier.from_store(tmp_path / "nothing.anmok", encoder)
    LabelStore(tmp_path / "l.anmok", encoder).close()
    with pytest.raises(LabelError, match="there are no labels"):
        Classifier.from_store(tmp_path / "l.anmok", encoder)


def test_bad_changes_leave_the_store_as_it_was(encoder, tmp_path):
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        store.add([Label("tabby", parent="cat"), "cat"])
        with pytest.raises(LabelError, match="parents go in a circle"):
            store.add(["new", Label("cat", parent="tabby")])
        with pytest.raises(LabelError, match=r"there is no label 'taby'. Did you mean 'tabby'"):
            store.delete(["cat", "taby"])
        assert store.labels.names == ("tabby", "cat")


def test_what_was_written_before_a_kill_is_not_encoded_again(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("anmok.classify.label_store.CHUNK", 2)
    encode, calls = encoder.encode_text, []

    def dies(texts):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(texts)

    names = ["a", "b", "c", "d", "e"]
    monkeypatch.setattr(encoder, "encode_text", dies)
    with LabelStore(tmp_path / "l.anmok", encoder, templates=["{}"]) as store, pytest.raises(KeyboardInterrupt):
        store.add(names)
    monkeypatch.setattr(encoder, "encode_text", encode)
    encoder.encoded_texts.clear()
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        assert store.add(names).added == ("e",)
        assert encoder.encoded_texts == ["e"]
        assert store.labels.names == tuple(names)


def test_one_label_more_reads_no_other(encoder, tmp_path, monkeypatch):
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        store.add([Label("cat", parent="animal"), Label("animal", parent="thing"), "thing"])
        monkeypatch.setattr(LabelStore, "_rows", None)
        changes = store.add([Label("tabby", parent="cat"), Label("animal", parent="thing")])
        assert (changes.added, changes.unchanged) == (("tabby",), ("animal",))
        store.delete(["thing"])
        with pytest.raises(LabelError, match="parents go in a circle"):
            store.add([Label("animal", parent="tabby")])
