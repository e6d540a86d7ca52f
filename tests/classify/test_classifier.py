"""Classification: probabilities, order, errors kept in place, back-off, "none of these"."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anmok.classify import Classifier, Label, LabelSet, encode_labels, resolve_templates
from anmok.classify.hierarchy import Hierarchy
from anmok.classify.threshold import best_threshold
from anmok.embeddings import Embeddings, unit
from anmok.errors import FingerprintMismatch, LabelError, PictureError


def test_each_picture_gets_its_own_label_first(encoder):
    found = Classifier(encoder, ["cat", "dog", "car"]).classify([b"dog", b"cat"], top=2)
    assert [predictions[0].label for predictions in found] == ["dog", "cat"]
    assert [len(predictions) for predictions in found] == [2, 2]
    assert found[0][0].score == pytest.approx(1.0)
    assert all(predictions.error is None for predictions in found)


def test_softmax_is_exact(encoder):
    (found,) = Classifier(encoder, ["cat", "dog", "car"]).classify(b"cat", top=9)
    total = np.exp(10.0) + 2
    assert {p.label: p.probability for p in found} == pytest.approx(
        {"cat": np.exp(10.0) / total, "dog": 1 / total, "car": 1 / total}
    )


def test_sigmoid_uses_scale_and_bias_and_does_not_overflow(make_encoder):
    encoder = make_encoder(score="sigmoid", logit_scale=8.0, logit_bias=-4.0)
    (found,) = Classifier(encoder, ["cat", "dog"]).classify(b"cat")
    assert [p.probability for p in found] == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))])
    extreme = make_encoder(score="sigmoid", logit_scale=1e5, logit_bias=-4.0)
    assert Classifier(extreme, ["cat", "dog"]).classify(b"cat")[0][0].probability == 1.0


def test_order_survives_saturated_probabilities(make_encoder):
    encoder = make_encoder(score="sigmoid", logit_scale=1e5, logit_bias=1e4)
    (found,) = Classifier(encoder, ["dog", "고양이", "cat"]).classify(b"cat")
    assert [p.label for p in found] == ["cat", "고양이", "dog"]


def test_bad_picture_keeps_its_place(encoder):
    found = Classifier(encoder, ["cat", "dog"]).classify([b"cat", b"broken", b"dog"], on_error="skip")
    assert [predictions.error for predictions in found] == [None, "is broken", None]
    assert found[1] == []
    assert not found[1].found
    assert found[2][0].label == "dog"
    with pytest.raises(PictureError, match="picture 1: is broken"):
        Classifier(encoder, ["cat", "dog"]).classify([b"cat", b"broken", b"dog"])


def test_label_embedding_is_the_mean_over_names_and_templates(encoder):
    label = Label("cat", synonyms=("dog",), ko="고양이")
    templates = ("{}", "photo of {}", "{} 사진")
    texts = ["cat", "photo of cat", "dog", "photo of dog", "고양이", "고양이 사진"]
    mean = unit(np.array([encoder.meaning(text) for text in texts])).mean(axis=0)
    np.testing.assert_allclose(encode_labels(encoder, [label], templates).vectors, unit(mean[None]), atol=1e-6)


def test_texts_are_encoded_once_and_in_their_language(encoder):
    encode_labels(encoder, [Label("cat", ko="고양이"), Label("car", synonyms=("cat",))], resolve_templates("small"))
    assert len(encoder.encoded_texts) == len(set(encoder.encoded_texts))
    assert "a photo of a cat." in encoder.encoded_texts
    assert "고양이 사진" in encoder.encoded_texts
    assert "a photo of a 고양이." not in encoder.encoded_texts


def test_clip80_gives_korean_labels_korean_templates(encoder):
    encode_labels(encoder, [Label("고양이")], resolve_templates("clip80"))
    assert "가까이에서 본 고양이" in encoder.encoded_texts
    assert not any("photo" in text for text in encoder.encoded_texts)


def test_templates_from_a_list_and_a_file(encoder, tmp_path):
    (tmp_path / "t.txt").write_text("my {}\n# comment\nyour {}\n", encoding="utf-8")
    assert resolve_templates(tmp_path / "t.txt") == ("my {}", "your {}")
    assert resolve_templates(["my {}"]) == ("my {}",)
    with pytest.raises(LabelError, match="'my' has no place for the label"):
        resolve_templates(["my"])
    with pytest.raises(LabelError, match="there are no templates"):
        resolve_templates([])


def test_labels_from_a_file(encoder, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("label,parent\ntabby,cat\npoodle,dog\n", encoding="utf-8")
    assert Classifier(encoder, path).labels.names == ("tabby", "poodle")


def test_wrong_use_is_refused(encoder, make_encoder):
    classifier = Classifier(encoder, ["cat", "dog"])
    with pytest.raises(LabelError, match="top is 0"):
        classifier.classify(b"cat", top=0)
    with pytest.raises(FingerprintMismatch):
        classifier.classify_embeddings(make_encoder(fingerprint="other").encode_image([b"cat"]))
    with pytest.raises(LabelError, match="2 labels but 1 embeddings"):
        Classifier.from_embeddings(encoder, LabelSet(["cat", "dog"]), encoder.encode_text(["cat"]))


def test_many_pictures_are_scored_in_parts_like_one_by_one(encoder, monkeypatch):
    monkeypatch.setattr("anmok.classify.classifier.CELLS", 50)
    classifier = Classifier(encoder, ["cat", "dog", "고양이"])
    pictures = [f"thing {number}".encode() for number in range(300)]
    together = classifier.classify(pictures)
    assert together[299] == classifier.classify(pictures[299])[0]
    assert len(together) == 300


def test_no_pictures_give_no_predictions(encoder):
    assert Classifier(encoder, ["cat"]).classify([]) == []


TREE = LabelSet(
    [
        Label("tabby", parent="cat"),
        Label("lynx", parent="cat"),
        Label("cat", parent="animal"),
        Label("dog", parent="animal"),
        "car",
    ]
)


@pytest.mark.parametrize(
    ("probabilities", "level", "expected"),
    [
        ([0.9, 0.0, 0.0, 0.05, 0.05], 0.5, ("tabby", 0.9)),
        ([0.4, 0.3, 0.1, 0.1, 0.1], 0.5, ("cat", 0.8)),
        ([0.3, 0.0, 0.1, 0.3, 0.3], 0.5, ("animal", 0.7)),
        ([0.1, 0.1, 0.1, 0.1, 0.6], 0.5, ("car", 0.6)),
        ([0.1, 0.1, 0.1, 0.1, 0.6], 0.9, None),
        ([0.4, 0.45, 0.05, 0.05, 0.05], 0.4, ("lynx", 0.45)),
    ],
)
def test_back_off_takes_the_narrowest_sure_label(probabilities, level, expected):
    found = Hierarchy(TREE).surest(np.array(probabilities), level, add=True)
    assert found == (expected if expected is None else (expected[0], pytest.approx(expected[1])))


def test_back_off_does_not_add_up_what_does_not_exclude_each_other():
    assert Hierarchy(TREE).surest(np.array([0.4, 0.4, 0.3, 0.1, 0.1]), 0.5, add=False) is None


def test_classify_backs_off_to_a_parent_that_is_no_label(encoder):
    classifier = Classifier(encoder, [Label("tabby", parent="pet"), Label("poodle", parent="pet"), Label("car")])
    between = Embeddings(unit(encoder.meaning("tabby") + encoder.meaning("poodle"))[None], encoder.fingerprint)
    (found,) = classifier.classify_embeddings(between, back_off=0.9)
    assert [p.label for p in found] == ["pet", "tabby", "poodle", "car"]
    assert found[0].probability == pytest.approx(found[1].probability * 2)
    (plain,) = classifier.classify_embeddings(between)
    assert plain[0].label == "tabby"


def test_none_of_these(encoder):
    classifier = Classifier(encoder, ["cat", "dog"])
    found = classifier.classify([b"cat", b"a river", b"truck"])
    assert [predictions.found for predictions in found] == [True, False, False]


def test_fitted_threshold_separates_the_examples(encoder):
    classifier = Classifier(encoder, ["cat", "dog"])
    pictures = [b"cat", b"dog", b"car", b"truck", b"a river"]
    threshold = classifier.fit_threshold(pictures, ["cat", "dog", None, None, None])
    assert threshold == classifier.threshold
    assert [predictions.found for predictions in classifier.classify(pictures)] == [True, True, False, False, False]


def test_fit_threshold_refuses_what_it_cannot_use(encoder):
    classifier = Classifier(encoder, ["cat", "dog"])
    with pytest.raises(LabelError, match="'cow' is not one of the labels"):
        classifier.fit_threshold([b"cat"], ["cow"])
    with pytest.raises(LabelError, match="1 pictures but 2 labels"):
        classifier.fit_threshold([b"cat"], ["cat", None])
    with pytest.raises(LabelError, match="a threshold needs examples"):
        classifier.fit_threshold([], [])


@pytest.mark.parametrize(
    ("matches", "known", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.5),
        ([0.9, 0.8], [1, 1], 0.4),
        ([0.2, 0.4], [0, 0], 0.7),
        ([0.9, 0.5, 0.6, 0.1], [1, 1, 0, 0], 0.3),  # 3 of 4 right at 0.75, 0.55 and 0.3: the widest gap
    ],
)
def test_best_threshold(matches, known, expected):
    assert best_threshold(np.array(matches, np.float32), np.array(known, bool)) == pytest.approx(expected)


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=12))
def test_best_threshold_is_at_least_as_good_as_any_other(examples):
    matches, known = (np.array(part) for part in zip(*examples, strict=True))

    def quality(threshold):
        parts = [np.mean(matches[known] >= threshold)] if known.any() else []
        return np.mean(parts + ([np.mean(matches[~known] < threshold)] if not known.all() else []))

    best = quality(best_threshold(matches.astype(np.float32), known))
    assert all(best >= quality(other) - 1e-9 for other in [*matches, 0, 0.5, 1.0001])
