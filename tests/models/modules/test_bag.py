import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.models.modules import DualEncoder, from_weights
from anmok.models.modules.bag import words_of

START, END = 58, 59


@pytest.fixture(scope="module")
def model(specs, random_weights):
    spec = specs["bag of words"]
    return from_weights(spec, random_weights(spec))


def encode(model, *texts, length=12):
    ids = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, words in zip(ids, texts, strict=True):
        row[: len(words) + 2] = torch.tensor([START, *words, END])
    with torch.inference_mode():
        return model.encode_text(ids)


def test_it_is_the_normalized_mean_of_the_words(model):
    weights = {name: value.numpy() for name, value in model.text.state_dict().items()}
    mean = weights["token_embedding.weight"][[7, 9, 9]].mean(axis=0)
    normed = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-5) * weights["norm.weight"] + weights["norm.bias"]
    expected = weights["projection.weight"] @ normed
    np.testing.assert_allclose(encode(model, [7, 9, 9])[0], expected, atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(words=st.lists(st.integers(1, 57), max_size=9), data=st.data())
def test_neither_padding_nor_order_matters(model, words, data):
    expected = encode(model, words)
    shuffled = data.draw(st.permutations(words))
    torch.testing.assert_close(encode(model, shuffled), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encode(model, words, length=len(words) + 2), expected, atol=1e-5, rtol=0)


def test_the_same_words_more_often_stay_the_same(model):
    torch.testing.assert_close(encode(model, [4, 5]), encode(model, [4, 5, 4, 5]), atol=1e-5, rtol=0)
    assert not torch.allclose(encode(model, [4, 5]), encode(model, [4, 5, 5]), atol=1e-2)


def test_a_word_that_pads_elsewhere_is_a_word(model):
    """open_clip pads with 0, which is "!" in CLIP's vocabulary."""
    assert not torch.allclose(encode(model, [7, 0]), encode(model, [7]), atol=1e-2)


def test_which_tokens_are_words(specs):
    ids = torch.tensor([[START, 5, 6, END, 0], [START, END, 0, 0, 0], [START, 5, END, 7, END]])
    expected = [[0, 1, 1, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert words_of(ids, specs["bag of words"].text).int().tolist() == expected
    without_start = specs["bag of words without a start"].text
    assert words_of(ids[:, 1:], without_start).int().tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


def test_an_empty_caption_does_not_break_training(specs):
    """Without its end of text it would have the vector 0, whose direction has endless gradients."""
    model = DualEncoder(specs["bag of words"])
    ids = torch.tensor([[START, END, 0], [START, 5, END]])
    torch.nn.functional.normalize(model.encode_text(ids), dim=-1).sum().backward()
    for name, parameter in model.text.named_parameters():
        assert parameter.grad.abs().max() < 1e3, name
