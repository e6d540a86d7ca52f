"""The whole way: pictures → recogniser → folder → recogniser."""

import json

import numpy as np
import pytest

from anmok.adapt import AdaptedClassifier, ExampleError, RecogniserError, adapt, read_examples
from anmok.embeddings import Embeddings
from anmok.errors import FingerprintMismatch

from .conftest import World, write_folder

LABELS = ["cup", "bowl", "컵받침", "plate", "spoon"]


@pytest.fixture
def world(make_world):
    return make_world(LABELS, wrong=1.0, noise=0.25)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    root = tmp_path_factory.mktemp("examples")
    write_folder(root, dict.fromkeys(LABELS, 12))
    return adapt(World(LABELS, wrong=1.0, noise=0.25), read_examples(root))


def truth(world, count=40):
    targets = np.repeat(range(len(LABELS)), count)
    return Embeddings(world.draw(targets, 321), world.fingerprint), targets


def test_it_recognises_more_than_words_and_says_how_much(world, result):
    embeddings, targets = truth(world)
    order = [result.examples.labels.names.index(name) for name in LABELS]
    found = result.classifier.probabilities(embeddings)[:, order].argmax(axis=1)
    words = (embeddings.vectors @ world.words.T).argmax(axis=1)
    assert (found == targets).mean() > (words == targets).mean()
    assert (found == targets).mean() == pytest.approx(result.chosen.accuracy, abs=0.1)
    assert result.chosen.name != "zero-shot" and result.error < 0.2
    assert result.confusion.sum() == 60 and result.confusion.trace() == 60 - len(result.worst)
    assert {promise.error_rate for promise in result.promises} == {0.05, 0.1, 0.2}


def test_it_comes_back_from_its_folder(world, result, tmp_path):
    embeddings, _ = truth(world)
    result.classifier.save(tmp_path / "r")
    back = AdaptedClassifier.load(tmp_path / "r", world)
    np.testing.assert_allclose(back.probabilities(embeddings), result.classifier.probabilities(embeddings), atol=1e-4)
    for ours, theirs in zip(
        back.classify_embeddings(embeddings), result.classifier.classify_embeddings(embeddings), strict=True
    ):
        assert ours.found == theirs.found and ours[0].label == theirs[0].label
        assert ours[0].match == pytest.approx(theirs[0].match, abs=0.05)
    assert back.labels.names == result.classifier.labels.names and back.facts["examples"] == 60
    assert sum(file.stat().st_size for file in (tmp_path / "r").iterdir()) < 50_000


def test_predictions_and_sets(world, result):
    pictures = [f"cup {i}".encode() for i in range(30)] + [b"broken 1"]
    found = result.classifier.classify(pictures, top=2, on_error="skip")
    assert found[-1].error == "is broken" and not found[-1]
    assert sum(predictions[0].label == "cup" for predictions in found[:-1]) > 24
    assert all(len(predictions) == 2 for predictions in found[:-1])
    sets = result.classifier.classify(pictures[:-1], error_rate=0.1)
    assert all(1 <= len(one) <= 5 for one in sets)
    assert sum("cup" in [p.label for p in one] for one in sets) >= 24
    strangers = result.classifier.classify([f"something {i}".encode() for i in range(40)])
    familiar = result.classifier.classify([f"plate {i}".encode() for i in range(500, 540)])
    assert sum(one.found for one in familiar) > sum(one.found for one in strangers)
    assert result.classifier.classify([]) == []


def test_another_encoder_is_refused(world, result, tmp_path, make_world):
    result.classifier.save(tmp_path / "r")
    other = make_world(LABELS)
    other.fingerprint = "0" * 16
    with pytest.raises(FingerprintMismatch, match="was adapted with world"):
        AdaptedClassifier.load(tmp_path / "r", other)
    with pytest.raises(FingerprintMismatch):
        result.classifier.classify_embeddings(Embeddings(np.eye(16, dtype=np.float32), "0" * 16))


@pytest.mark.parametrize("damage", ["no facts", "no json", "cut", "swapped", "newer", "key"])
def test_a_damaged_folder_says_so(world, result, tmp_path, damage):
    folder = tmp_path / "r"
    result.classifier.save(folder)
    facts, arrays = folder / "recogniser.json", folder / "arrays.safetensors"
    described = json.loads(facts.read_text(encoding="utf-8"))
    if damage == "no facts":
        facts.unlink()
    elif damage == "no json":
        facts.write_text("{")
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-8])
    elif damage == "swapped":
        described["arrays"] = "0" * 16
    elif damage == "newer":
        described["format"] = 99
    else:
        del described["sense"]
    if damage in ("swapped", "newer", "key"):
        facts.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(RecogniserError, match=r"adapt|newer anmok"):
        AdaptedClassifier.load(folder, world)


def test_unreadable_pictures_are_left_out_and_told(world, folder):
    root = folder({"cup": 4, "bowl": 4})
    (root / "cup" / "9.png").write_text("broken 9")
    result = adapt(world, read_examples(root))
    assert len(result.examples) == 8
    assert [(problem.name, problem.reason) for problem in result.examples.problems] == [("cup/9.png", "is broken")]
    assert result.classifier.facts["left out"][0]["picture"] == "cup/9.png"


def test_nothing_left_is_an_error(world, folder):
    root = folder({"cup": 3})
    (root / "bowl").mkdir()
    (root / "bowl" / "1.png").write_text("broken 1")
    with pytest.raises(ExampleError, match=r"only 1 of the labels has pictures.*bowl/1.png: is broken"):
        adapt(world, read_examples(root))


def test_one_picture_of_each_keeps_words_or_is_better(world, folder):
    result = adapt(world, read_examples(folder(dict.fromkeys(LABELS, 1))))
    assert result.chosen.accuracy >= result.zero_shot.accuracy
    assert result.promises == () or all(promise.error_rate >= 0.2 for promise in result.promises)


def test_pictures_of_none_test_the_threshold(world, folder):
    result = adapt(world, read_examples(folder({"cup": 8, "bowl": 8, "none": 10})))
    assert len(result.examples) == 16 and result.strangers.strangers == 10 * 5
    assert result.strangers.accepted is not None


def test_columns_that_tell_labels_apart_are_used(world, tmp_path):
    """Cup and bowl have the same pictures here; the table's weight tells them apart."""
    rows = ["filepath,label,weight,maker"]
    random = np.random.default_rng(0)
    for number in range(40):
        label = ("cup", "bowl")[number % 2]
        (tmp_path / f"{number}.png").write_text(f"plate {number}")
        weight = "" if number % 10 == 9 else f"{random.normal(100 + 60 * (number % 2), 20):.0f}"
        rows.append(f"{number}.png,{label},{weight},{'kim' if number % 3 else 'lee'}")
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    result = adapt(world, read_examples(tmp_path / "t.csv"))
    shares = {one.name: one.accuracy for one in result.checked}
    assert result.chosen.name == "probe with columns"
    assert shares["probe with columns"] > shares["probe"] + 0.2 and shares["columns alone"] > 0.75
    result.classifier.save(tmp_path / "r")
    back = AdaptedClassifier.load(tmp_path / "r", world)
    pictures = [b"plate 7"] * 3
    heavy, light, unknown = back.classify(
        pictures, columns={"weight": ["200", "60", ""], "maker": ["new", "lee", "kim"]}
    )
    assert heavy[0].label == "bowl" and light[0].label == "cup"
    assert unknown[0].probability < max(heavy[0].probability, light[0].probability)
    assert [p.label for p in back.classify(pictures[:1])[0]] == [p.label for p in unknown]


def test_an_encoder_with_sigmoids_is_calibrated_alike(make_world, folder):
    """SigLIP scores each label by itself; among labels of which one is right, its bias falls out."""
    examples = read_examples(folder(dict.fromkeys(LABELS, 8)))
    softmaxed, sigmoid = make_world(LABELS, wrong=1.0), make_world(LABELS, wrong=1.0)
    sigmoid.score, sigmoid.logit_bias = "sigmoid", -10.0
    one, other = adapt(softmaxed, examples), adapt(sigmoid, examples)
    embeddings, _ = truth(sigmoid, 5)
    found = other.classifier.probabilities(embeddings)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, one.classifier.probabilities(embeddings))
    assert other.chosen.name == one.chosen.name
