"""Gradient checkpointing changes the memory and nothing else."""

import copy

import pytest
import torch

from anmok.models.modules import DualEncoder, from_weights
from anmok.models.modules.convolution import BatchNorm


def trained_once(model, inputs, ids):
    """Logits, gradients and buffers after one step's passes, and the bytes kept between them."""
    kept: dict[int, int] = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model(ids=ids, **inputs)
    size = sum(size for place, size in kept.items() if place not in weights)
    generator = torch.Generator().manual_seed(1)
    (logits * torch.randn(logits.shape, generator=generator)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return logits.detach(), gradients, dict(model.named_buffers()), size


def test_outputs_gradients_and_statistics_stay_equal(spec, random_weights, random_pictures, random_texts):
    plain = from_weights(spec, random_weights(spec)).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.set_gradient_checkpointing(True)
    inputs, ids = random_pictures(spec, 3).modules, torch.tensor(random_texts(spec, 3))
    logits, gradients, buffers, size = trained_once(plain, inputs, ids)
    again, gradients_again, buffers_again, size_again = trained_once(checkpointed, inputs, ids)
    torch.testing.assert_close(again, logits, rtol=0, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_again[name], gradient, msg=name)
    for name, buffer in buffers.items():
        assert torch.equal(buffers_again[name], buffer), name
    assert size_again < size
    assert all(module.momentum == 0.1 for module in checkpointed.modules() if isinstance(module, BatchNorm))


def test_statistics_move_once_and_not_twice(specs, random_pictures):
    model = DualEncoder(specs["vgg"]).train()
    model.set_gradient_checkpointing(True)
    norm = model.image.stages[0][0].norm
    pixels = random_pictures(specs["vgg"], 3).modules["pixels"]
    batch = model.image.stages[0][0].conv(pixels)
    model.encode_image(pixels).sum().backward()
    torch.testing.assert_close(norm.running_mean, 0.1 * batch.mean(dim=(0, 2, 3)))


def test_a_deep_tower_keeps_a_fraction(specs, random_pictures, random_texts):
    spec = copy.deepcopy(specs["clip vit"])
    object.__setattr__(spec.image, "layers", 12)
    model = DualEncoder(spec)
    inputs, ids = random_pictures(spec, 3).modules, torch.tensor(random_texts(spec, 3))
    sizes = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        sizes.append(trained_once(model, inputs, ids)[3])
    assert sizes[1] < sizes[0] / 4


def test_it_can_be_switched_off_again_and_costs_nothing_in_inference(specs, random_pictures):
    model = DualEncoder(specs["resnet"]).eval()
    pixels = random_pictures(specs["resnet"], 2).modules["pixels"]
    with torch.inference_mode():
        expected = model.encode_image(pixels)
        model.set_gradient_checkpointing(True)
        assert torch.equal(model.encode_image(pixels), expected)
    model.set_gradient_checkpointing(False)
    assert not any(getattr(module, "recompute", False) for module in model.modules())


def test_what_fails_inside_leaves_the_norms_as_they_were(specs, random_pictures):
    model = DualEncoder(specs["vgg"]).train()
    model.set_gradient_checkpointing(True)
    vectors = model.encode_image(random_pictures(specs["vgg"], 2).modules["pixels"])
    conv = model.image.stages[1][0].conv
    conv.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        vectors.sum().backward()
    assert all(module.momentum == 0.1 for module in model.modules() if isinstance(module, BatchNorm))
