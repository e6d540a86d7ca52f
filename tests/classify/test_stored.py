"""Labels that stay in their store: the same answers as in memory, with probabilities that are right."""

import numpy as np
import pytest

from anmok.classify import Classifier, Label, LabelStore, StoredClassifier, open_classifier, stored
from anmok.embeddings import Embeddings, unit
from anmok.errors import LabelError


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch):
    monkeypatch.setattr(stored, "CANDIDATES", 64)
    monkeypatch.setattr(stored, "SAMPLE", 1000)


@pytest.fixture
def many(encoder, tmp_path):
    """3,000 labels around 60 directions, with parents, and pictures near some of them."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(60, encoder.dimension))
    rows = unit(
        (centers[np.arange(3000) % 60] + 0.5 * random.normal(size=(3000, encoder.dimension))).astype(np.float32)
    )
    labels = [Label(f"label {i}", parent=f"group {i % 60}") for i in range(3000)]
    labels += [Label(f"group {i}", parent="all") for i in range(60)]
    groups = unit((centers + 0.1 * random.normal(size=centers.shape)).astype(np.float32))
    path = tmp_path / "many.anmok"
    with LabelStore(path, encoder, templates=["{}"]) as store:
        store.add(labels, embeddings=Embeddings(np.concatenate([rows, groups]), encoder.fingerprint))
        store.threshold = 0.4
    near = unit((rows[:40] + 0.1 * random.normal(size=(40, encoder.dimension))).astype(np.float32))
    return path, Embeddings(near, encoder.fingerprint)


@pytest.mark.parametrize("settings", [("softmax", 4.0, 0.0), ("softmax", 60.0, 0.0), ("sigmoid", 20.0, -10.0)])
def test_answers_are_those_of_comparing_with_every_label(encoder, many, settings):
    path, pictures = many
    encoder.score, encoder.logit_scale, encoder.logit_bias = settings
    every = Classifier.from_store(path, encoder).classify_embeddings(pictures, top=5)
    with StoredClassifier(path, encoder) as classifier:
        assert len(classifier) == 3060
        assert classifier.threshold == 0.4
        found = classifier.classify_embeddings(pictures, top=5)
    for one, other in zip(every, found, strict=True):
        assert [p.label for p in one] == [p.label for p in other]
        np.testing.assert_allclose([p.score for p in one], [p.score for p in other], atol=1e-5)
        np.testing.assert_allclose([p.match for p in one], [p.match for p in other], atol=1e-4)
        np.testing.assert_allclose([p.probability for p in one], [p.probability for p in other], rtol=0.1)
        assert one.found == other.found


def test_without_the_others_probabilities_would_be_wrong(encoder, many, monkeypatch):
    """So the test above tests something."""
    path, pictures = many
    encoder.logit_scale = 4.0
    right = Classifier.from_store(path, encoder).classify_embeddings(pictures, top=1)[0][0].probability
    monkeypatch.setattr(StoredClassifier, "_sample", np.empty((0, encoder.dimension), np.float32))
    with StoredClassifier(path, encoder) as classifier:
        assert classifier.classify_embeddings(pictures, top=1)[0][0].probability > 1.5 * right


def test_backs_off_to_the_narrowest_parent_that_is_sure(encoder, many):
    path, pictures = many
    encoder.logit_scale = 30.0
    every = Classifier.from_store(path, encoder).classify_embeddings(pictures, top=3, back_off=0.5)
    with StoredClassifier(path, encoder) as classifier:
        found = classifier.classify_embeddings(pictures, top=3, back_off=0.5)
    same = [one[0].label == other[0].label for one, other in zip(every, found, strict=True)]
    assert np.mean(same) > 0.9
    assert any(predictions[0].label.startswith("group") for predictions in found)


def test_few_labels_are_kept_in_memory_and_many_are_not(encoder, many, monkeypatch):
    path, _ = many
    assert isinstance(open_classifier(path, encoder), Classifier)
    monkeypatch.setattr(stored, "LARGE", 1000)
    classifier = open_classifier(path, encoder)
    assert isinstance(classifier, StoredClassifier)
    assert [label.parent for label in classifier.labels_named(["label 3", "nothing"])] == ["group 3"]
    classifier.close()


def test_pictures_go_in_as_everywhere(encoder, tmp_path):
    with LabelStore(tmp_path / "l.anmok", encoder) as store:
        store.add(["cat", "dog", "car"])
    with StoredClassifier(tmp_path / "l.anmok", encoder) as classifier:
        results = classifier.classify([b"dog", b"broken"], on_error="skip", top=9)
        assert results[0][0].label == "dog"
        assert len(results[0]) == 3
        assert results[1].error
        assert classifier.classify_embeddings(Embeddings(np.empty((0, 64), np.float32), encoder.fingerprint)) == []


def test_an_empty_store_is_refused(encoder, tmp_path):
    LabelStore(tmp_path / "l.anmok", encoder).close()
    with pytest.raises(LabelError, match="holds no labels"):
        open_classifier(tmp_path / "l.anmok", encoder)


def test_a_threshold_is_fitted_as_in_memory(encoder, many, monkeypatch):
    path, pictures = many
    monkeypatch.setattr(encoder, "encode_image", lambda _: pictures)
    truth = [f"label {i}" if i < 30 else None for i in range(40)]
    expected = Classifier.from_store(path, encoder).fit_threshold([b""] * 40, truth)
    with StoredClassifier(path, encoder) as classifier:
        assert classifier.fit_threshold([b""] * 40, truth) == pytest.approx(expected, abs=1e-3)
        with pytest.raises(LabelError, match="'cow' is not one of the labels"):
            classifier.fit_threshold([b""], ["cow"])
