import math

import ml_dtypes
import numpy as np
import pytest
import torch

from anmok.models.modules import DualEncoder, from_weights


def test_logits_are_the_scaled_cosines(spec, random_weights, random_pictures, random_texts):
    weights = random_weights(spec)
    model = from_weights(spec, weights)
    inputs, ids = random_pictures(spec, 2).modules, torch.tensor(random_texts(spec, 3))
    with torch.inference_mode():
        pictures, texts = model.encode_image(**inputs).numpy(), model.encode_text(ids).numpy()
        logits = model(ids=ids, **inputs).numpy()
    cosines = pictures @ texts.T / np.linalg.norm(pictures, axis=1)[:, None] / np.linalg.norm(texts, axis=1)
    expected = cosines * math.exp(weights["logit_scale"]) + weights.get("logit_bias", 0.0)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_every_parameter_gets_a_gradient(spec, random_weights, random_pictures, random_texts):
    model = from_weights(spec, random_weights(spec)).train()
    logits = model(ids=torch.tensor(random_texts(spec, 3)), **random_pictures(spec, 3).modules)
    (logits * torch.randn(logits.shape)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # what is added to all keys alike moves all scores alike, which softmax does not see
        assert parameter.grad.any() or name.endswith("key.bias"), name


def test_a_new_model_starts_as_the_papers_say(specs):
    clip, siglip = DualEncoder(specs["clip vit"]), DualEncoder(specs["siglip"])
    assert clip.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert siglip.logit_scale.item() == pytest.approx(math.log(10))
    assert siglip.logit_bias.item() == -10
    block = clip.text.blocks[0]
    assert block.attention.qkv.weight.std().item() == pytest.approx(48**-0.5, rel=0.1)
    assert block.mlp.down.weight.std().item() == pytest.approx(48**-0.5 * 4**-0.5, rel=0.1)
    assert not block.attention.qkv.bias.any()
    resnet = DualEncoder(specs["clip resnet"])
    assert not any(block.norm3.weight.any() for stage in resnet.image.stages for block in stage)


def test_a_new_model_is_finite(spec, random_pictures, random_texts):
    model = DualEncoder(spec)  # uninitialized memory would show up here sooner or later
    with torch.inference_mode():
        logits = model(ids=torch.tensor(random_texts(spec, 2)), **random_pictures(spec, 2).modules)
    assert logits.isfinite().all()
    assert all(parameter.abs().max() < 20 for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_weights_are_read_as_float32(specs, random_weights, dtype):
    spec = specs["siglip"]
    halves = {name: array.astype(dtype) for name, array in random_weights(spec).items()}
    for name, tensor in from_weights(spec, halves).state_dict().items():
        assert tensor.dtype == torch.float32
        assert np.array_equal(tensor.numpy(), halves[name].astype(np.float32))


def test_the_arrays_are_not_changed_by_training(specs, random_weights):
    spec = specs["clip vit"]
    weights = random_weights(spec)
    for array in weights.values():
        array.flags.writeable = False  # as memory-mapped ones are
    model = from_weights(spec, weights)
    assert not model.training
    with torch.no_grad():
        model.logit_scale.add_(1)
    assert model.logit_scale.item() == pytest.approx(weights["logit_scale"] + 1)
