"""Methods that train: on a tiny model, judged and shipped like the others."""

import numpy as np
import pytest
from PIL import Image

from anmok.adapt import AdaptedClassifier, adapt, read_examples, tuning
from anmok.adapt.head import softmax
from anmok.adapt.methods import Known
from anmok.adapt.tuning import LearnedPrompts, TowerTuning
from anmok.classify import Classifier
from anmok.errors import FingerprintMismatch, MissingExtra

COLORS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 220)}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 8)


@pytest.fixture
def examples(tmp_path):
    random = np.random.default_rng(0)
    for label, color in COLORS.items():
        (tmp_path / "examples" / label).mkdir(parents=True)
        for number in range(6):
            pixels = np.clip(np.array(color) + random.integers(-30, 30, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "examples" / label / f"{number}.png")
    return read_examples(tmp_path / "examples")


def test_learned_words_are_a_head_on_the_same_features(tiny_encoder, examples):
    vectors = tiny_encoder.encode_image(list(examples.pictures)).vectors.astype(np.float64)
    words = tiny_encoder.encode_text(list(examples.labels.names)).vectors.astype(np.float64)
    texts = {"small": words}
    known = Known(vectors, np.empty((18, 0)), examples.targets, texts, tiny_encoder.logit_scale, examples.labels.names)
    (head,) = LearnedPrompts(tiny_encoder.checkpoint, seed=0).fit(known)
    rows = np.arange(18)

    def loss(weights):
        return -np.log(softmax(tiny_encoder.logit_scale * vectors @ weights.T)[rows, examples.targets]).mean()

    start = tiny_encoder.encode_text([f"a photo of a {name}" for name in examples.labels.names]).vectors
    assert loss(head.weights / tiny_encoder.logit_scale) < loss(start)


def test_towers_are_judged_by_towers_that_had_not_seen_the_fold(tiny_encoder, examples, tmp_path, monkeypatch):
    seen = []
    real = tuning.tune_towers

    def spy(checkpoint, pictures, targets, texts, **options):
        seen.append({picture.parent.name + picture.name for picture in pictures})
        return real(checkpoint, pictures, targets, texts, **options)

    monkeypatch.setattr(tuning, "tune_towers", spy)
    numbers = np.arange(18) % 3
    towers = TowerTuning(tiny_encoder, examples, folder=tmp_path / "work", seed=0)
    checked = towers.check(numbers)
    assert checked.logits.shape == (1, 18, 3) and np.isfinite(checked.losses).all()
    names = np.array([picture.parent.name + picture.name for picture in examples.pictures])
    assert [sorted(one) for one in seen] == [sorted(names[numbers != fold]) for fold in range(3)]
    again = TowerTuning(tiny_encoder, examples, folder=tmp_path / "work", seed=0).check(numbers)
    np.testing.assert_array_equal(again.logits, checked.logits)  # it goes on where it ended
    towers.clear()
    assert not (tmp_path / "work").exists()


def test_towers_that_win_are_shipped_with_the_recogniser(tiny_encoder, examples, tmp_path, monkeypatch):
    from anmok.adapt import adapting

    monkeypatch.setattr(adapting, "choose", lambda checked: checked[-1])
    result = adapt(tiny_encoder, examples, methods=[], tune=True, folder=tmp_path / "r" / ".tuning")
    assert [one.name for one in result.checked] == ["zero-shot", "learned prompts", "LoRA"]
    assert result.classifier.encoder.fingerprint != tiny_encoder.fingerprint
    result.classifier.save(tmp_path / "r")
    assert (tmp_path / "r" / "encoder").is_dir() and not (tmp_path / "r" / ".tuning").exists()
    back = AdaptedClassifier.load(tmp_path / "r")
    pictures = list(examples.pictures)
    for ours, theirs in zip(back.classify(pictures), result.classifier.classify(pictures), strict=True):
        assert ours[0].label == theirs[0].label
        assert ours[0].probability == pytest.approx(theirs[0].probability, abs=1e-3)
    with pytest.raises(FingerprintMismatch):
        AdaptedClassifier.load(tmp_path / "r", tiny_encoder)
    adapt(tiny_encoder, examples, methods=[]).classifier.save(tmp_path / "again")
    result.classifier.save(tmp_path / "again")
    adapt(tiny_encoder, examples, methods=[]).classifier.save(tmp_path / "again")
    assert not (tmp_path / "again" / "encoder").exists()
    assert AdaptedClassifier.load(tmp_path / "again", tiny_encoder).labels.names == examples.labels.names
    words = Classifier(result.classifier.encoder, list(examples.labels.names))
    assert [p[0].label for p in words.classify(pictures)] == [p[0].label for p in back.classify(pictures)]


def test_without_torch_it_says_what_to_install(tiny_encoder, examples, monkeypatch):
    from anmok.adapt import adapting

    monkeypatch.setattr(adapting, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"anmok\[train\]"):
        adapt(tiny_encoder, examples, tune=True)
