from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anmok.models.modules import from_weights
from anmok.pictures import normalize
from anmok.train.batches import Batch
from anmok.train.losses import (
    cosine_distillation_loss,
    relation_distillation_loss,
    sigmoid_loss,
    softmax_loss,
)
from anmok.train.objective import Objective, Towers, VectorTeacher, open_teacher
from anmok.train.recipe import LossConfig, RecipeError

CPU = torch.device("cpu")
SCALE = torch.tensor(10.0)
ROWS = torch.tensor([2, 0, 2])  # which text each picture has


def unit(n, d, seed=0):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_towers_normalize_bytes_as_the_checkpoint_says(tiny_checkpoint):
    model = from_weights(tiny_checkpoint.spec, tiny_checkpoint.weights)
    transform = tiny_checkpoint.transform
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    ids = torch.from_numpy(tiny_checkpoint.tokenizer(["a", "b c", "d"]))
    with torch.no_grad():
        pictures, texts = Towers(model, transform.mean, transform.std)(torch.from_numpy(pixels), ids, ROWS)
        expected = F.normalize(model.encode_image(torch.from_numpy(normalize(pixels, transform))), dim=-1)
        torch.testing.assert_close(pictures, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(texts, F.normalize(model.encode_text(ids), dim=-1)[ROWS])
    assert not set(Towers(model, transform.mean, transform.std).state_dict()) - {
        f"model.{n}" for n in model.state_dict()
    }


def test_the_loss_is_the_one_of_the_recipe():
    pictures, texts, groups = unit(6, 8), unit(6, 8, 1), torch.tensor([0, 0, 1, 2, 3, 4])
    bias = torch.tensor(-3.0)

    def loss(score="softmax", **options):
        objective = Objective(LossConfig(**options), score, processes=1, teacher=None)
        return objective((pictures, texts), SCALE, bias if score == "sigmoid" else None, groups, (None, None))

    assert loss(positives="own") == softmax_loss(pictures, texts, SCALE)
    assert loss() == softmax_loss(pictures, texts, SCALE, groups=groups)
    assert loss("sigmoid") == sigmoid_loss(pictures, texts, SCALE, bias, groups=groups)
    torch.testing.assert_close(loss(tile=4), loss())
    assert loss(positives="own") != loss()


def batch(texts):
    nothing = torch.zeros(len(texts))
    return Batch((nothing,), (nothing,), nothing, nothing, texts, texts)


def test_a_text_teacher_knows_its_texts_and_no_others(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)
    np.savez(tmp_path / "t.npz", names=np.array(["a cat", "고양이", "a dog"]), vectors=vectors)
    teacher = open_teacher(LossConfig(teacher_texts=str(tmp_path / "t.npz")), 8, CPU, torch.float32)
    assert isinstance(teacher, VectorTeacher)
    pictures, texts = teacher.vectors(batch(["고양이", "a bird", "a cat", "a dog"]))
    assert pictures is None
    assert (texts[1] == 0).all()
    torch.testing.assert_close(texts[[0, 2, 3]].norm(dim=1), torch.ones(3))

    own = unit(4, 8)
    config = LossConfig(teacher_weight=2.0)
    objective = Objective(config, "softmax", processes=1, teacher=teacher)
    groups = torch.arange(4)
    found = objective((unit(4, 8, 1), own), SCALE, None, groups, (None, texts))
    seen = [0, 2, 3]
    contrastive = softmax_loss(unit(4, 8, 1), own, SCALE, groups=groups)
    torch.testing.assert_close(found, contrastive + 2 * relation_distillation_loss(own[seen], texts[seen]))
    nothing = teacher.vectors(batch(["x", "y", "z", "w"]))
    torch.testing.assert_close(
        objective((unit(4, 8, 1), own), SCALE, None, groups, nothing), softmax_loss(unit(4, 8, 1), own, SCALE)
    )


def test_vectors_of_pictures_teach_pictures_by_the_names_of_pairs(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(4, 8))
    np.savez(tmp_path / "p.npz", names=np.array(["s:0", "s:1", "s:3", "s:2"]), vectors=vectors)
    config = LossConfig(teacher_pictures=str(tmp_path / "p.npz"), teacher_kind="cosine", teacher_weight=0.5)
    teacher = open_teacher(config, 8, CPU, torch.float32)
    pictures, texts = teacher.vectors(replace(batch(["x", "y", "z"]), names=["s:2", "s:9", "s:0"]))
    assert texts is None
    assert (pictures[1] == 0).all()
    torch.testing.assert_close(pictures[2], F.normalize(torch.from_numpy(vectors[0]).float(), dim=0))

    own, words, groups = unit(3, 8), unit(3, 8, 1), torch.arange(3)
    found = Objective(config, "softmax", processes=1, teacher=teacher)(
        (own, words), SCALE, None, groups, (pictures, texts)
    )
    known = cosine_distillation_loss(own[[0, 2]], pictures[[0, 2]])
    torch.testing.assert_close(found, softmax_loss(own, words, SCALE, groups=groups) + 0.5 * known)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"teacher_texts": "t.npz", "teacher_kind": "logits"}, "have no logits"),
        ({"teacher_pictures": "t.npz", "teacher_kind": "cosine"}, "loss.teacher_pictures have 5"),
        ({"teacher_texts": "t.npz", "teacher_kind": "cosine"}, "of the model's dimension, 8"),
        ({"teacher_texts": "words.npz"}, "expected .npz with `names`"),
        ({"teacher": "anmok-mini", "teacher_kind": "cosine"}, "the teacher has 256, the model 8"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(tmp_path, monkeypatch, config, message):
    monkeypatch.chdir(tmp_path)
    np.savez("t.npz", names=np.array(["a"]), vectors=np.ones((1, 5)))
    np.savez("words.npz", words=np.array(["a"]))
    with pytest.raises(RecipeError, match=message):
        open_teacher(LossConfig(**config), 8, CPU, torch.float32)
    assert open_teacher(LossConfig(), 8, CPU, torch.float32) is None
