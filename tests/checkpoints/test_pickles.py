"""Torch pickles without torch: equal to torch.load, and nothing but tensors ever comes of one."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.checkpoints.pickles import open_pickle
from anmok.errors import CheckpointError, UnsafePickle


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def repack(file: Path, content: bytes) -> Path:
    """The torch file with another pickle inside."""
    with zipfile.ZipFile(file) as old:
        entries = [(entry, old.read(entry)) for entry in old.infolist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as new:
        for entry, data in entries:
            new.writestr(entry.filename, content if entry.filename.endswith("data.pkl") else data)
    return file


def test_every_kind_of_tensor_equals_torch_load(tmp_path, torch):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = OrderedDict(
        plain=base,
        strided=base[::2, 1::2],
        transposed=base.T,
        shared=base[1],
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        expanded=torch.ones(1, 3).expand(5, 3),
        half=base.half(),
        double=base.double(),
        bfloat=base.bfloat16() / 3,
        bfloat_strided=(base.bfloat16() / 7).T,
        whole=torch.arange(5),
        flags=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(base * 2),
    )
    torch.save(state, tmp_path / "x.bin")
    arrays = open_pickle(tmp_path / "x.bin")
    assert set(arrays) == set(state)
    for name, tensor in state.items():
        expected = tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()
        assert arrays.shapes[name] == tuple(tensor.shape)
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)


def test_module_state_dict_with_its_metadata_is_read(tmp_path, torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(model.state_dict(), tmp_path / "x.bin")
    arrays = open_pickle(tmp_path / "x.bin")
    np.testing.assert_array_equal(arrays["0.weight"], model[0].weight.detach().numpy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_archive_is_read_without_running_it(tmp_path, torch):
    """OpenAI's original files are such archives."""

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 2)
            self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
            self.proj = torch.nn.Parameter(torch.randn(4, 5))
            self.register_buffer("size", torch.tensor(32))

        def forward(self, x):
            return self.blocks(self.conv(x).mean((2, 3))) @ self.proj

    model = Tower()
    torch.jit.save(torch.jit.script(model), str(tmp_path / "x.pt"))
    arrays = open_pickle(tmp_path / "x.pt")
    state = model.state_dict()
    assert set(arrays) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


class _Runs:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "wrap", [lambda bad: bad, lambda bad: {"a": bad}, lambda bad: [[bad]]], ids=["top", "dict", "deep"]
)
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "(posix|nt).system"),
        (eval, "__builtin__.eval"),
        (getattr, "__builtin__.getattr"),
        (pickle.loads, "_?pickle.loads"),
        (Path, "pathlib"),
    ],
    ids=["system", "eval", "getattr", "loads", "path"],
)
def test_pickle_that_runs_something_is_refused_and_not_run(tmp_path, torch, function, named, wrap):
    marker = tmp_path / "ran"
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    command = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')"}.get(function, "x")
    repack(tmp_path / "x.bin", pickle.dumps(wrap(_Runs(function, command)), 2))
    with pytest.raises(UnsafePickle, match=f"asks for {named}.*It was not run"):
        open_pickle(tmp_path / "x.bin")
    assert not marker.exists()


TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
    b"K\x00K\x02\x85K\x01\x85tR"
)
SHAPE = b"}X\x05\x00\x00\x00shapeM\xff\xff\x85s"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00functionK\x01sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00functionK\x01s\x86b.",
        TENSOR + SHAPE + b"b.",
        TENSOR + b"N" + SHAPE + b"\x86b.",
        b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeX\x03\x00\x00\x00<f8sb.",
    ],
    ids=["function", "function-slots", "tensor", "tensor-slots", "storage"],
)
def test_pickle_cannot_change_what_was_checked(tmp_path, torch, content):
    """BUILD would set attributes: a shape that reaches past its storage, a function for the next file."""
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    repack(tmp_path / "x.bin", content)
    with pytest.raises(CheckpointError, match="tries to change a tensor or a function after it was made"):
        open_pickle(tmp_path / "x.bin")


def test_module_inside_itself_ends(tmp_path, torch):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    content = b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x04\x00\x00\x00selfh\x00sb."
    repack(tmp_path / "x.bin", content)
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_pickle(tmp_path / "x.bin")


def test_compressed_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("x/data.pkl", b"\x00" * 1_000_000)
    with pytest.raises(CheckpointError, match=r"data.pkl is compressed"):
        open_pickle(tmp_path / "x.bin")


def test_tensor_that_reaches_past_its_storage_is_refused(tmp_path, torch):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    with zipfile.ZipFile(tmp_path / "x.bin") as opened:
        content = opened.read("x/data.pkl")
    lying = content.replace(b"K\x02\x85", b"M\xff\xff\x85", 1)  # the shape (2,) becomes (65535,)
    assert lying != content
    repack(tmp_path / "x.bin", lying)
    with pytest.raises(CheckpointError, match=r"reaches past the end of its storage|too short"):
        open_pickle(tmp_path / "x.bin")


def test_cut_file_is_refused(tmp_path, torch):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.bin")
    content = (tmp_path / "x.bin").read_bytes()
    for keep in (0, 3, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "x.bin").write_bytes(content[:keep])
        with pytest.raises(CheckpointError, match=r"cut|damaged|not a torch file"):
            open_pickle(tmp_path / "x.bin")


def test_missing_storage_is_refused(tmp_path, torch):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin")
    with zipfile.ZipFile(tmp_path / "x.bin") as old:
        entries = [(entry.filename, old.read(entry)) for entry in old.infolist() if "/data/" not in entry.filename]
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as new:
        for name, data in entries:
            new.writestr(name, data)
    with pytest.raises(CheckpointError, match="storage 0 is not in it"):
        open_pickle(tmp_path / "x.bin")


def test_old_format_says_how_to_convert(tmp_path, torch):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"format of torch before 1.6; convert it once .*torch.save"):
        open_pickle(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer.*git lfs pull"),
        (b"<html>not found</html>", "not a torch file"),
        (b"", "not a torch file"),
    ],
)
def test_something_else_is_named(tmp_path, content, named):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=named):
        open_pickle(tmp_path / "x.bin")


def test_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as new:
        new.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match=r"no data.pkl"):
        open_pickle(tmp_path / "x.bin")


def test_pickle_without_tensors_is_refused(tmp_path, torch):
    torch.save({"epoch": 3}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_pickle(tmp_path / "x.bin")


@settings(max_examples=40, deadline=None)
@given(noise=st.binary(max_size=60))
def test_noise_in_place_of_the_pickle_never_escapes_the_error_tree(tmp_path_factory, noise):
    file = tmp_path_factory.mktemp("noise") / "x.bin"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as new:
        new.writestr("x/data.pkl", noise)
    file.write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError):
        open_pickle(file)
