import pytest
import torch

from anmok.train.machine import choose_device, choose_precision, choose_workers
from anmok.train.recipe import RecipeError, RunConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("named", "chosen"),
    [("fp32", torch.float32), ("amp_bf16", torch.bfloat16), ("amp_bfloat16", torch.bfloat16), ("amp", torch.float16)],
)
def test_precisions_go_by_open_clips_names(named, chosen):
    assert choose_precision(RunConfig(precision=named), CPU) == chosen


@pytest.mark.parametrize(("computes", "chosen"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(monkeypatch, computes, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: computes, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert choose_precision(RunConfig(), CPU) == chosen


def test_workers_are_those_asked_for_or_what_suits():
    assert choose_workers(RunConfig(workers=3), CPU, cores=2, processes=1) == 3
    assert choose_workers(RunConfig(workers=0), CPU, cores=2, processes=1) == 0
    assert choose_workers(RunConfig(), CPU, cores=16, processes=1) == 1
    gpu = torch.device("cuda")
    assert choose_workers(RunConfig(), gpu, cores=16, processes=1) == 8
    assert choose_workers(RunConfig(), gpu, cores=16, processes=4) == 3
    assert choose_workers(RunConfig(), gpu, cores=2, processes=4) == 1


@pytest.mark.parametrize("name", ["cuda:9", "tpu", "meta:x"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(RecipeError, match=f"run.device '{name}' cannot be used"):
        choose_device(RunConfig(device=name))
    assert choose_device(RunConfig(device="cpu")) == CPU
