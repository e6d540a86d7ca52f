"""What holds for every kind of model: finite numbers in every mode, and the same ones in any memory layout."""

import pytest
import torch
from torch.nn import functional as F

from anmok.models.modules import DualEncoder, from_weights


@pytest.mark.parametrize("training", [True, False])
def test_a_new_model_trains_without_a_bad_number(spec, training, random_pictures, random_texts):
    model = DualEncoder(spec).train(training)
    inputs, ids = random_pictures(spec, 3).modules, torch.tensor(random_texts(spec, 3))
    for _ in range(2):
        logits = model(ids=ids, **inputs)
        assert logits.isfinite().all()
        F.cross_entropy(logits, torch.arange(3)).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:  # a bias of the logits moves no softmax, and gets none
                assert parameter.grad.isfinite().all(), name
                parameter.data -= 1e-3 * parameter.grad
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_bfloat16_is_close_and_trains(spec, random_weights, random_pictures, random_texts):
    model = from_weights(spec, random_weights(spec))
    inputs, ids = random_pictures(spec, 3).modules, torch.tensor(random_texts(spec, 3))
    with torch.inference_mode():
        expected = model.encode_image(**inputs), model.encode_text(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = model.encode_image(**inputs), model.encode_text(ids)
        logits = model.train()(ids=ids, **inputs)
    for half, full in zip(halves, expected, strict=True):
        assert F.cosine_similarity(half.float(), full, dim=-1).min() > 0.999
        torch.testing.assert_close(half.float().norm(dim=-1), full.norm(dim=-1), rtol=0.05, atol=0)
    logits.float().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_channels_last_is_equal(spec, random_weights, random_pictures):
    inputs = random_pictures(spec, 3).modules
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = from_weights(spec, random_weights(spec)).train().to(memory_format=layout)
        pixels = inputs["pixels"]
        pixels = pixels.to(memory_format=layout) if pixels.ndim == 4 else pixels  # NaFlex has patches
        vectors = model.encode_image(**(inputs | {"pixels": pixels}))
        vectors.square().mean().backward()
        grads = {name: parameter.grad for name, parameter in model.image.named_parameters()}
        results.append((vectors.detach(), grads))
    (vectors, grads), (others, other_grads) = results
    scale = vectors.abs().max()
    torch.testing.assert_close(others / scale, vectors / scale, atol=1e-5, rtol=0)
    largest = max(gradient.abs().max() for gradient in grads.values())
    for name, gradient in grads.items():  # some gradients are 0 but for rounding: what a batch norm takes off again
        allowed = 1e-2 * gradient.abs().max() + 1e-5 * largest
        assert (other_grads[name] - gradient).abs().max() <= allowed, name
