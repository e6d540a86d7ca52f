import io

import numpy as np
import pytest
import torch

from anmok.encoder import Encoder
from anmok.evaluate import evaluate
from anmok.pairs import Pair
from anmok.train.evaluators import measure, preferred
from anmok.train.losses import softmax_loss
from anmok.train.synthetic import draw_scene


def scenes(count, **more):
    drawn = [draw_scene(np.random.default_rng(i)) for i in range(count)]
    return [Pair(f"s:{i}", png(one.picture), one.english[:1], **more) for i, one in enumerate(drawn)]


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_numbers_are_those_of_the_model_on_the_held_out_pairs(tiny_checkpoint):
    pairs = scenes(12)
    numbers = dict(measure(tiny_checkpoint, pairs, (), batch_size=4))
    encoder = Encoder(tiny_checkpoint)
    pictures = encoder.encode_image([pair.picture for pair in pairs])
    texts = encoder.encode_text([pair.texts[0] for pair in pairs])
    found = np.argsort(-(texts @ pictures), axis=1)
    expected = np.mean([i in row[:5] for i, row in enumerate(found)])
    assert numbers["validation text to picture recall@5 en"] == pytest.approx(expected)
    losses = [
        softmax_loss(torch.from_numpy(pictures.vectors[i : i + 4]), torch.from_numpy(texts.vectors[i : i + 4]),
                     torch.tensor(encoder.logit_scale))
        for i in (0, 4, 8)
    ]  # fmt: skip
    assert numbers["validation loss"] == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_both_languages_are_measured_where_the_source_tells_them_apart(tiny_checkpoint, recwarn):
    pairs = [
        Pair(p.name, p.picture, p.texts, captions={"en": p.texts, "ko": (f"그림 {i}",)})
        for i, p in enumerate(scenes(6))
    ]
    numbers = dict(measure(tiny_checkpoint, pairs, (), batch_size=4))
    assert {"validation picture to text recall@1 en", "validation picture to text recall@1 ko"} <= set(numbers)


def test_classes_are_classified(tiny_checkpoint):
    pairs = [Pair(p.name, p.picture, (f"kind {i % 3}",), labels=(f"kind {i % 3}",)) for i, p in enumerate(scenes(12))]
    numbers = dict(measure(tiny_checkpoint, pairs, (), batch_size=4))
    assert 0 <= numbers["validation accuracy@1 en"] <= 1
    assert preferred(numbers, "")[1] == "validation accuracy@1 en"


def test_more_sets_are_measured_as_anmok_evaluate_does(tiny_checkpoint, tmp_path):
    for i, pair in enumerate(scenes(8)):
        folder = tmp_path / "set" / f"kind {i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(pair.picture)
    numbers = dict(measure(tiny_checkpoint, [], [str(tmp_path / "set")], batch_size=4))
    (expected,) = evaluate(Encoder(tiny_checkpoint), tmp_path / "set")
    assert numbers == {"set accuracy@1 en": expected.value}


def test_the_number_that_models_are_compared_by():
    numbers = {"validation loss": 2.0, "validation text to picture recall@5 en": 0.5, "other accuracy@1 ko": 0.1}
    assert preferred(numbers, "") == ([0.5, -2.0], "validation text to picture recall@5 en")
    assert preferred(numbers, "validation loss") == ([-2.0, -2.0], "validation loss")
    assert preferred(numbers, "other accuracy@1 ko") == ([0.1, -2.0], "other accuracy@1 ko")
    assert preferred(numbers, "")[0] < preferred(numbers | {"validation loss": 1.5}, "")[0]  # equal, but surer
    assert preferred(numbers, "accuracy") is None
    assert preferred({"x": 1.0}, "") is None
