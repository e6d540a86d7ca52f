"""Chunks with a cache beside the whole batch at once: the same gradients, statistics and random numbers."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anmok.models.modules import DualEncoder
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec
from anmok.train.cached import cached_backward
from anmok.train.losses import sigmoid_loss, softmax_loss

VIT = VitSpec(
    image_size=16, patch_size=8, width=16, layers=1, heads=2, mlp_width=32, activation="gelu", pool="cls",
    class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
)  # fmt: skip
TEXT = TextSpec(
    vocabulary=20, context_length=5, width=16, layers=1, heads=2, mlp_width=32, activation="gelu", causal=True,
    pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=19, pad_token=0,
)  # fmt: skip
RESNET = ResNetSpec(image_size=32, width=8, layers=(1, 1, 1, 1), heads=4)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors are so small here that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Trainee:
    """A tiny model in float64, data for it, and both ways to get its gradients."""

    def __init__(self, image=VIT, score="softmax", n=11):
        torch.manual_seed(0)
        self.model = DualEncoder(DualSpec(image, TEXT, 12, score)).double().train()
        side = image.image_size
        self.pixels = torch.randn(n, 3, side, side, dtype=torch.float64)
        self.ids = torch.randint(1, 20, (n, 5))
        self.ids[:, -1] = 19

    def chunks(self, size=4):
        return list(zip(self.pixels.split(size), self.ids.split(size), strict=True))

    def encode(self, chunk):
        pixels, ids = chunk
        pixels = pixels.to(next(self.model.parameters()).dtype)
        pictures, texts = self.model.encode_image(pixels), self.model.encode_text(ids)
        return F.normalize(pictures, dim=1), F.normalize(texts, dim=1)

    def objective(self, pictures, texts):
        scale = self.model.logit_scale.exp()
        if self.model.spec.logit_bias:
            return sigmoid_loss(pictures, texts, scale, self.model.logit_bias)
        return softmax_loss(pictures, texts, scale, tile=3)

    def cached(self, **options):
        return cached_backward(self.encode, self.chunks(), self.objective, model=self.model, **options)

    def plain(self, backward=torch.Tensor.backward):
        """The whole batch, each chunk encoded by itself, all activations kept."""
        pictures, texts = zip(*map(self.encode, self.chunks()), strict=True)
        loss = self.objective(torch.cat(pictures), torch.cat(texts))
        backward(loss)
        return loss.detach()

    def gradients(self):
        """A copy of each gradient; they are cleared."""
        found = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        self.model.zero_grad()
        return found


def assert_same(found, expected, tolerance=1e-9):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], gradient, atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_gradients_are_those_of_the_whole_batch(score):
    trainee = Trainee(score=score)
    expected_loss = trainee.objective(*trainee.encode((trainee.pixels, trainee.ids)))
    expected_loss.backward()
    expected = trainee.gradients()
    assert all(gradient.any() for gradient in expected.values())  # scale and bias too
    loss = trainee.cached()
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected_loss.detach())
    assert_same(trainee.gradients(), expected)


def test_chunks_that_do_not_see_each_other_would_learn_something_else():
    """What the cache is for: plain accumulation of gradients compares only within a chunk."""
    trainee = Trainee()
    for chunk in trainee.chunks():
        (trainee.objective(*trainee.encode(chunk)) * len(chunk[0]) / 11).backward()
    apart = trainee.gradients()
    trainee.cached()
    with pytest.raises(AssertionError):
        assert_same(trainee.gradients(), apart, 0.01)


def test_batch_norm_is_that_of_the_chunks_and_counts_once():
    trainee = Trainee(RESNET)
    start = copy.deepcopy(trainee.model.state_dict())
    trainee.plain()
    expected, statistics = trainee.gradients(), dict(trainee.model.named_buffers())
    statistics = {name: buffer.clone() for name, buffer in statistics.items()}
    trainee.model.load_state_dict(start)
    trainee.cached()
    assert_same(trainee.gradients(), expected)
    assert_same(dict(trainee.model.named_buffers()), statistics, 0.0)
    assert len(statistics) > 10
    assert not torch.equal(statistics["image.stem.norm1.running_mean"], start["image.stem.norm1.running_mean"])


def test_dropout_drops_the_same_in_both_passes():
    trainee = Trainee()
    trainee.model.image.norm = nn.Sequential(trainee.model.image.norm, nn.Dropout(0.5))
    torch.manual_seed(5)
    expected_loss = trainee.plain()
    expected, after = trainee.gradients(), torch.rand(3)
    torch.manual_seed(5)
    loss = trainee.cached()
    assert torch.equal(torch.rand(3), after)  # and what comes next is as random as it would have been
    torch.testing.assert_close(loss, expected_loss)
    assert_same(trainee.gradients(), expected)
    torch.manual_seed(6)
    assert trainee.plain() != expected_loss


@pytest.mark.parametrize("around", [False, True])
def test_under_bfloat16_autocast(around):
    """Opened inside `encode`, or around everything, where PyTorch would keep casts that have no gradient."""
    trainee = Trainee()
    trainee.model.float()
    plain_encode = trainee.encode

    def encode(chunk):
        with torch.autocast("cpu", torch.bfloat16):
            return plain_encode(chunk)

    trainee.encode = encode
    expected_loss = trainee.plain()
    expected = trainee.gradients()
    trainee.encode = plain_encode if around else encode
    with torch.autocast("cpu", torch.bfloat16, enabled=around):
        loss = trainee.cached()
    torch.testing.assert_close(loss, expected_loss, atol=1e-6, rtol=1e-6)
    for name, gradient in trainee.gradients().items():
        assert gradient is not None, name
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 0.02, name  # sums of bfloat16 products in another order


def test_gradients_add_up_and_backward_may_scale_them():
    trainee = Trainee()
    trainee.plain(lambda loss: (3 * loss).backward())
    expected = trainee.gradients()
    for _ in range(2):
        trainee.cached(backward=lambda loss: (1.5 * loss).backward())
    assert_same(trainee.gradients(), expected)


def test_gradient_scaler():
    trainee = Trainee()
    trainee.plain()
    expected = trainee.gradients()
    optimizer = torch.optim.SGD(trainee.model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    trainee.cached(backward=lambda loss: scaler.scale(loss).backward())
    assert trainee.model.logit_scale.grad == pytest.approx(2.0**10 * expected["logit_scale"].item())
    scaler.unscale_(optimizer)
    assert_same(trainee.gradients(), expected)


@pytest.mark.parametrize("frozen", [["text"], ["image", "text"]])
def test_frozen_towers(frozen):
    trainee = Trainee()
    for tower in frozen:
        getattr(trainee.model, tower).requires_grad_(False)
    trainee.plain()
    expected = trainee.gradients()
    trainee.cached()
    found = trainee.gradients()
    assert found["logit_scale"].abs() > 0
    assert_same(found, expected)


def test_parameters_of_the_objective_need_not_be_of_the_model():
    trainee = Trainee()
    stretch = nn.Parameter(torch.linspace(0.5, 2, 12, dtype=torch.float64))
    objective = trainee.objective
    trainee.objective = lambda pictures, texts: objective(pictures * stretch, texts)
    trainee.plain()
    expected, stretched = trainee.gradients(), stretch.grad
    stretch.grad = None
    trainee.cached()
    torch.testing.assert_close(stretch.grad, stretched)
    assert_same(trainee.gradients(), expected)


def test_objective_that_uses_one_side_only():
    trainee = Trainee()
    trainee.objective = lambda pictures, texts: (pictures[:, 0] * trainee.model.logit_scale).sum()
    trainee.plain()
    expected = {name: gradient for name, gradient in trainee.gradients().items() if not name.startswith("text")}
    trainee.cached()
    found = trainee.gradients()
    assert_same({name: found[name] for name in expected}, expected)
    assert not any(found[name].any() for name in found.keys() - expected.keys())


def test_activations_of_one_chunk_at_a_time():
    """What autograd keeps for the backward pass grows with the chunk and not with the batch."""
    kept = {}
    for name in ("cached", "plain"):
        trainee = Trainee(n=40)
        held, most = 0, 0

        def keep(tensor):
            nonlocal held, most
            held += tensor.numel()
            most = max(most, held)
            return tensor

        backward = torch.Tensor.backward

        def free(loss, backward=backward):
            nonlocal held
            backward(loss)
            held = 0

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            getattr(trainee, name)(backward=free)
        kept[name] = most
    assert kept["cached"] < kept["plain"] / 5  # of ten chunks


def test_what_cannot_be_done_is_refused():
    trainee = Trainee()
    with pytest.raises(ValueError, match="`chunks` is empty"):
        cached_backward(trainee.encode, [], trainee.objective, model=trainee.model)
    once = [iter([(trainee.pixels, trainee.ids), (trainee.pixels[:3], trainee.ids[:3])])]
    with pytest.raises(ValueError, match=r"encoded as \[\[11, 12\], .* the second time, as \[\[3, 12\]"):
        cached_backward(lambda chunk: trainee.encode(next(chunk)), once, trainee.objective, model=trainee.model)


def test_scale_may_be_huge():
    trainee = Trainee()
    with torch.no_grad():
        trainee.model.logit_scale.fill_(math.log(100))
    assert trainee.cached().isfinite()
    assert all(gradient.isfinite().all() for gradient in trainee.gradients().values())
