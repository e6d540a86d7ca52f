"""Two and four real processes beside one: the same loss and gradients.

Run as a script, this file is what the processes do. They write down what they got, and the tests compare it.
"""

import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anmok.errors import SettingsError
from anmok.models.modules import DualEncoder
from anmok.models.spec import DualSpec, TextSpec, VitSpec
from anmok.train.cached import cached_backward
from anmok.train.distributed import World, gathered_softmax_loss, ring_sigmoid_loss, start, stop
from anmok.train.losses import sigmoid_loss, softmax_loss
from anmok.train.objective import Objective, Teacher
from anmok.train.recipe import LossConfig

SIZES = (2, 4)
PAIRS = 24
KINDS = ("logits", "cosine", "relation")
CASES = list(product(["softmax", "sigmoid"], ["own", "groups"], [None, 5], ["float64", "float32"]))
VIT = VitSpec(
    image_size=16, patch_size=8, width=16, layers=1, heads=2, mlp_width=32, activation="gelu", pool="cls",
    class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
)  # fmt: skip
TEXT = TextSpec(
    vocabulary=20, context_length=5, width=16, layers=1, heads=2, mlp_width=32, activation="gelu", causal=True,
    pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=19, pad_token=0,
)  # fmt: skip


def inputs(dtype):
    """Vectors of all pairs, scale and bias; and groups that reach over processes."""
    random = torch.Generator().manual_seed(0)
    vectors = [F.normalize(torch.randn(PAIRS, 6, generator=random, dtype=torch.float64), dim=1) for _ in range(2)]
    numbers = [torch.tensor(14.3, dtype=torch.float64), torch.tensor(-5.0, dtype=torch.float64)]
    groups = torch.randint(0, 9, (PAIRS,), generator=random)
    return [tensor.to(getattr(torch, dtype)).requires_grad_() for tensor in (*vectors, *numbers)], groups


class Towers(nn.Module):
    """Both towers in one call, as DistributedDataParallel wants it; a batch norm to see what becomes of buffers."""

    def __init__(self, score):
        super().__init__()
        torch.manual_seed(1)
        self.model = DualEncoder(DualSpec(VIT, TEXT, 12, score)).double()
        self.norm = nn.BatchNorm1d(2, affine=False).double()

    def forward(self, pixels, ids):
        self.norm(pixels.mean(dim=(2, 3))[:, :2])
        pictures, texts = self.model.encode_image(pixels), self.model.encode_text(ids)
        return F.normalize(pictures, dim=1), F.normalize(texts, dim=1)

    def objective(self, pictures, texts):
        scale = self.model.logit_scale.exp()
        if self.model.spec.logit_bias:
            return ring_sigmoid_loss(pictures, texts, scale, self.model.logit_bias, tile=4)
        return gathered_softmax_loss(pictures, texts, scale, tile=4)

    def gradients(self):
        found = {name: parameter.grad.clone() for name, parameter in self.named_parameters()}
        self.zero_grad()
        return found


def data():
    random = torch.Generator().manual_seed(2)
    pixels = torch.randn(PAIRS, 3, 16, 16, generator=random, dtype=torch.float64)
    ids = torch.randint(1, 20, (PAIRS, 5), generator=random)
    ids[:, -1] = 19
    return pixels, ids


# --- what each process does ---


def work(rank, size, port, folder):
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    world = start("cpu", timeout_s=60)
    own = slice(rank * PAIRS // size, (rank + 1) * PAIRS // size)
    found = {"losses": {case: share(case, own) for case in CASES}, "world": sent(world), "refused": refused(rank)}
    found["taught"] = {kind: taught(kind, own, size) for kind in KINDS}
    found["models"] = {score: trained(score, own, rank) for score in ("softmax", "sigmoid")}
    torch.save(found, Path(folder) / f"{size}-{rank}.pt")
    world.barrier()
    stop()


def share(case, own):
    kind, grouped, tile, dtype = case
    (pictures, texts, *numbers), groups = inputs(dtype)
    options = {"groups": groups[own] if grouped == "groups" else None, "tile": tile}
    pictures, texts = (vectors.detach()[own].requires_grad_() for vectors in (pictures, texts))
    if kind == "softmax":
        loss = gathered_softmax_loss(pictures, texts, numbers[0], **options)
    else:
        loss = ring_sigmoid_loss(pictures, texts, *numbers, **options)
    gradients = torch.autograd.grad(loss, [pictures, texts, *numbers], materialize_grads=True)
    return loss.detach(), [gradient.detach() for gradient in gradients]


def teacher_of(kind):
    """What a teacher says of all pairs; of text 3 and picture 20 it knows nothing."""
    random = torch.Generator().manual_seed(7)
    known = [F.normalize(torch.randn(PAIRS, 6, generator=random, dtype=torch.float64), dim=1) for _ in range(2)]
    if kind != "logits":
        known[0][20] = known[1][3] = 0
    teacher = Teacher()
    teacher.kind, teacher.scale = kind, torch.tensor(20.0, dtype=torch.float64)
    return teacher, known


def taught(kind, own, size):
    (pictures, texts, scale, _), groups = inputs("float64")
    teacher, known = teacher_of(kind)
    pictures, texts = (vectors.detach()[own].requires_grad_() for vectors in (pictures, texts))
    objective = Objective(LossConfig(teacher_weight=3.0), "softmax", processes=size, teacher=teacher)
    loss = objective((pictures, texts), scale, None, groups[own], tuple(vectors[own] for vectors in known))
    gradients = torch.autograd.grad(loss, [pictures, texts, scale])
    return loss.detach(), [gradient.detach() for gradient in gradients]


def sent(world):
    return {
        "main": world.is_main,
        "means": world.all_mean([world.rank, 0.1]),
        "nothing": world.all_mean([]),
    }


def refused(rank):
    messages = []
    for n, groups in ((3 if rank == 0 else 2, None), (2, None if rank else torch.zeros(2, dtype=torch.int64))):
        vectors, one = F.normalize(torch.ones(n, 4), dim=1), torch.tensor(1.0)
        for loss, numbers in ((gathered_softmax_loss, [one]), (ring_sigmoid_loss, [one, one])):
            try:
                loss(vectors, vectors, *numbers, groups=groups)
            except ValueError as error:
                messages.append(str(error))
    return messages


def trained(score, own, rank):
    towers = Towers(score)
    parallel = nn.parallel.DistributedDataParallel(towers)
    pixels, ids = (tensor[own] for tensor in data())
    towers.objective(*parallel(pixels, ids)).backward()
    found = {"plain": towers.gradients()}
    if rank:
        towers.norm.running_mean.fill_(100)
    chunks = list(zip(pixels.split(4), ids.split(4), strict=True))
    cached_backward(lambda chunk: parallel(*chunk), chunks, towers.objective, model=parallel)
    found["cached"] = towers.gradients()
    found["running mean"] = towers.norm.running_mean.clone()
    cached_backward(lambda chunk: parallel(*chunk), chunks, towers.objective, model=parallel)
    towers.objective(*parallel(pixels, ids)).backward()  # the averaging of one step is over when the next begins
    found["both"] = towers.gradients()
    return found


def main(folder):
    importlib.import_module("torch._dynamo")  # DistributedDataParallel does it; so it happens once, before the fork

    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    processes = []
    for size in SIZES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes += [context.Process(target=work, args=(rank, size, port, folder)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))


if __name__ == "__main__":
    main(sys.argv[1])


# --- what the tests compare ---


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors are so small here that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """What each process of each world got: {size: [of rank 0, of rank 1, …]}."""
    folder = tmp_path_factory.mktemp("worlds")
    run = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr
    return {size: [torch.load(folder / f"{size}-{rank}.pt") for rank in range(size)] for size in SIZES}


@pytest.fixture(params=SIZES)
def ranks(request, every):
    return every[request.param]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_mean_of_shares_and_gradients_is_that_of_one_process(ranks, case):
    kind, grouped, _, dtype = case
    (pictures, texts, *numbers), groups = inputs(dtype)
    groups = groups if grouped == "groups" else None
    if kind == "softmax":
        loss = softmax_loss(pictures, texts, numbers[0], groups=groups)
    else:
        loss = sigmoid_loss(pictures, texts, *numbers, groups=groups)
    expected = torch.autograd.grad(loss, [pictures, texts, *numbers], materialize_grads=True)
    tolerance = {"atol": 1e-12, "rtol": 1e-12} if dtype == "float64" else {"atol": 1e-6, "rtol": 1e-6}

    shares, gradients = zip(*(rank["losses"][case] for rank in ranks), strict=True)
    torch.testing.assert_close(torch.stack(shares).mean(), loss.detach(), **tolerance)
    own_pictures, own_texts, scales, biases = zip(*gradients, strict=True)
    torch.testing.assert_close(torch.cat(own_pictures) / len(ranks), expected[0], **tolerance)
    torch.testing.assert_close(torch.cat(own_texts) / len(ranks), expected[1], **tolerance)
    torch.testing.assert_close(torch.stack(scales).mean(), expected[2], **tolerance)
    torch.testing.assert_close(torch.stack(biases).mean(), expected[3], **tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_teacher_adds_is_that_of_one_process(ranks, kind):
    (pictures, texts, scale, _), groups = inputs("float64")
    teacher, known = teacher_of(kind)
    objective = Objective(LossConfig(teacher_weight=3.0), "softmax", processes=1, teacher=teacher)
    loss = objective((pictures, texts), scale, None, groups, tuple(known))
    plain = Objective(LossConfig(), "softmax", processes=1, teacher=None)
    assert abs(loss - plain((pictures, texts), scale, None, groups, (None, None))) > 0.01
    expected = torch.autograd.grad(loss, [pictures, texts, scale])
    shares, gradients = zip(*(rank["taught"][kind] for rank in ranks), strict=True)
    torch.testing.assert_close(torch.stack(shares).mean(), loss.detach(), atol=1e-12, rtol=1e-12)
    own_pictures, own_texts, scales = zip(*gradients, strict=True)
    torch.testing.assert_close(torch.cat(own_pictures) / len(ranks), expected[0], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(torch.cat(own_texts) / len(ranks), expected[1], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(torch.stack(scales).mean(), expected[2], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_model_in_data_parallel_learns_as_in_one_process(ranks, score):
    towers = Towers(score)
    towers.objective(*towers(*data())).backward()
    expected = towers.gradients()
    assert all(gradient.any() for gradient in expected.values())
    for found in (rank["models"][score] for rank in ranks):
        for name, gradient in expected.items():
            for way, times in (("plain", 1), ("cached", 1), ("both", 2)):
                close = torch.allclose(found[way][name], times * gradient, atol=1e-10, rtol=1e-9)
                assert close, f"{way}: {name}"


def test_cache_leaves_buffers_of_the_main_process(ranks):
    for score in ("softmax", "sigmoid"):
        means = [rank["models"][score]["running mean"] for rank in ranks]
        assert all(mean.abs().max() < 1 for mean in means)  # others had put 100 there


def test_what_processes_tell_each_other(ranks):
    assert [rank["world"]["main"] for rank in ranks] == [True] + [False] * (len(ranks) - 1)
    for told in (rank["world"] for rank in ranks):
        assert told["means"] == pytest.approx([(len(ranks) - 1) / 2, 0.1], abs=1e-15)
        assert told["nothing"] == []


def test_uneven_processes_are_refused_by_all(ranks):
    for messages in (rank["refused"] for rank in ranks):
        assert len(messages) == 4
        assert "by rank: 3 of 4 dimensions; 2 of 4 dimensions" in messages[0]
        assert "by rank: 2 of 4 dimensions in groups; 2 of 4 dimensions" in messages[2]
        assert messages[0] == messages[1]
        assert all("Choose a batch that the processes divide" in message for message in messages)


# --- one process ---

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    def change(**variables):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    change()
    return change


@pytest.mark.parametrize("launched", [False, True])
def test_alone_nothing_is_started_or_sent(environment, launched):
    if launched:
        environment(**TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    world = start("cpu")
    assert world == World(0, 1, 0, torch.device("cpu"))
    assert not torch.distributed.is_initialized()
    assert world.is_main
    assert world.all_mean([1, 2.5]) == [1.0, 2.5]
    world.barrier()
    stop()


def test_alone_the_losses_are_those_of_one_process():
    vectors, groups = inputs("float64")
    for options in ({}, {"groups": groups, "tile": 7}):
        assert torch.equal(gathered_softmax_loss(*vectors[:3], **options), softmax_loss(*vectors[:3], **options))
        assert torch.equal(ring_sigmoid_loss(*vectors, **options), sigmoid_loss(*vectors, **options))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_PORT": ""}, "WORLD_SIZE, LOCAL_RANK, MASTER_ADDR are set .* not MASTER_PORT. Start with `torchrun"),
        ({"RANK": "", "LOCAL_RANK": ""}, "but not RANK, LOCAL_RANK"),
        ({"RANK": "two"}, "RANK is 'two': expected a whole number"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2'"),
        ({"RANK": "2"}, "RANK is 2, LOCAL_RANK 1 and WORLD_SIZE 2"),
        ({"LOCAL_RANK": "7"}, "expected LOCAL_RANK <= RANK"),
    ],
)  # fmt: skip
def test_half_an_environment_is_refused(environment, changes, message):
    environment(**TORCHRUN | changes)
    with pytest.raises(SettingsError, match=message):
        start("cpu")
    assert not torch.distributed.is_initialized()


def test_devices_that_several_processes_cannot_use(environment, monkeypatch):
    environment(**TORCHRUN)
    with pytest.raises(SettingsError, match="not on mps: use one process"):
        start("mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="process 1 of this machine has no GPU: torch sees 1 here"):
        start("cuda")
