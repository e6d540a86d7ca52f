"""Learned words: with no steps they are the written ones, exactly; with some they tell classes apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anmok.embeddings import unit
from anmok.models.modules import from_weights
from anmok.models.spec import BagSpec
from anmok.tune import PromptSettings, TuneError, tune_prompts
from anmok.tune.prompts import prompt_ids

NAMES = ["wug", "blick of the north", "florp"]


@pytest.fixture(params=["clip", "siglip", "bag"])
def checkpoint(request, specs, random_weights, tiny_checkpoint, siglip_tokenizer):
    """A causal text tower, one that sees everything, and a bag of words."""
    if request.param == "siglip":
        spec, tokenizer = specs["siglip"], siglip_tokenizer
    else:
        spec, tokenizer = specs["clip"], tiny_checkpoint.tokenizer
    if request.param == "bag":
        spec = replace(spec, text=BagSpec(49408, 77, 16, 1e-5, True, 49407, 49407))
    return replace(tiny_checkpoint, spec=spec, weights=random_weights(spec), tokenizer=tokenizer)


def written(checkpoint, texts):
    model = from_weights(checkpoint.spec, checkpoint.weights)
    with torch.no_grad():
        return unit(model.encode_text(torch.from_numpy(checkpoint.tokenizer(texts))).numpy())


def vectors(checkpoint, count=60, seed=0):
    """Pictures of three classes around three directions that the texts know nothing of."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((3, checkpoint.spec.dimension))
    targets = np.arange(count) % 3
    return unit(centers[targets] + 0.5 * random.standard_normal((count, checkpoint.spec.dimension))), targets


def no_steps(checkpoint, **options):
    return tune_prompts(checkpoint, *vectors(checkpoint), NAMES, settings=PromptSettings(steps=0, **options))


def test_without_a_step_they_are_the_written_words(checkpoint):
    wanted = written(checkpoint, [f"a photo of a {name}" for name in NAMES])
    assert np.abs(no_steps(checkpoint) - wanted).max() < 1e-5
    assert np.abs(no_steps(checkpoint, per_class=True) - wanted).max() < 1e-5
    wanted = written(checkpoint, [f"of a {name}" for name in NAMES])
    assert np.abs(no_steps(checkpoint, context=2) - wanted).max() < 1e-5


@pytest.mark.parametrize("options", [{}, {"per_class": True}, {"context": 8}])
def test_they_learn_to_tell_classes_apart(checkpoint, options):
    settings = PromptSettings(steps=60, lr=0.1, **options)
    learned = tune_prompts(checkpoint, *vectors(checkpoint), NAMES, settings=settings, seed=1)
    assert learned.dtype == np.float32
    assert learned.shape == (3, checkpoint.spec.dimension)
    assert np.allclose(np.linalg.norm(learned, axis=1), 1, atol=1e-5)
    pictures, targets = vectors(checkpoint, 300, seed=1)
    assert ((pictures @ learned.T).argmax(axis=1) == targets).mean() > 0.75  # chance is 0.33


def test_the_same_seed_gives_the_same_words_and_nothing_else_changes(checkpoint):
    settings = PromptSettings(steps=3, context=8, batch_size=7)
    pictures, targets = vectors(checkpoint)
    before = {name: np.array(array) for name, array in checkpoint.weights.items()}
    one, same, other = (
        tune_prompts(checkpoint, pictures, targets, NAMES, settings=settings, seed=seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert all(np.array_equal(array, checkpoint.weights[name]) for name, array in before.items())


def test_gradients_of_many_classes_are_the_same(checkpoint, monkeypatch):
    settings = PromptSettings(steps=3)
    plain = tune_prompts(checkpoint, *vectors(checkpoint), NAMES, settings=settings)
    monkeypatch.setattr("anmok.tune.prompts.MANY", 2)
    assert np.abs(tune_prompts(checkpoint, *vectors(checkpoint), NAMES, settings=settings) - plain).max() < 1e-6


def test_names_are_cut_and_texts_still_end(checkpoint):
    tokenizer = checkpoint.tokenizer
    long = " ".join(["word"] * 100)
    for context in (2, 4, 12):
        ids, first, start = prompt_ids(tokenizer, ["x", long], "a photo of a", context, trim=False)
        assert ids.shape == (2, tokenizer.context_length)
        assert len(start) >= 4
        assert first == (1 if checkpoint.spec.score == "softmax" else 0)
        ends = (ids == tokenizer.eos_token).int().argmax(dim=1)
        cut = max(0, len(start) - context)  # the tokenizer had cut the name already
        assert ends[1] == tokenizer.context_length - 1 - cut
        assert first + context < ends[0] < ends[1]
        assert not (ids[:, first : first + context] == tokenizer.eos_token).any()


def test_what_does_not_fit_is_told(checkpoint):
    pictures, targets = vectors(checkpoint)
    with pytest.raises(TuneError, match=r"vectors are \[60, 23\], expected \[n, 24\]; .*one per vector; 1 classes"):
        tune_prompts(checkpoint, pictures[:, 1:], targets[1:], ["x"])
    with pytest.raises(TuneError, match="whole numbers, 0 to 1"):
        tune_prompts(checkpoint, pictures, targets, ["x", "y"])
    with pytest.raises(TuneError, match="no numbers"):
        tune_prompts(checkpoint, pictures * np.nan, targets, NAMES)
    with pytest.raises(TuneError, match="there are no pictures"):
        tune_prompts(checkpoint, pictures[:0], targets[:0], NAMES)
    if checkpoint.spec.text.context_length == 16:
        with pytest.raises(TuneError, match="leave no room for a name in the 16 tokens"):
            tune_prompts(checkpoint, pictures, targets, NAMES, settings=PromptSettings(context=16))
    with pytest.raises(TuneError, match="context is 0"):
        PromptSettings(context=0)
