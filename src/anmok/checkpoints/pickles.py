"""Torch pickles without torch, by a loader that can make nothing but tensors.

Reads the zip format of `torch.save` (torch 1.6 and later) and TorchScript archives, whose
parameters lie in the same kind of pickle (OpenAI's original `.pt` files are such archives).
A pickle is a program; here it may name only the things in `_Loader.find_class`. Anything else
raises UnsafePickle before it is run.

Format: an uncompressed zip with `NAME/data.pkl` (the pickle, tensors as references to storages)
and `NAME/data/KEY` (the bytes of each storage). Source: torch/serialization.py, torch 2.13.
"""

from __future__ import annotations

import io
import pickle  # only its opcodes: every name goes through `_Loader.find_class`
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.checkpoints.arrays import Arrays, widen
from anmok.errors import CheckpointError, UnsafePickle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["open_pickle"]

STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bf16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}  # fmt: skip
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
HOW_TO_CONVERT = (
    "convert it once where torch is (pip install 'anmok[train]'): "
    "torch.save(torch.load(file, weights_only=True), new_file), or save it as .safetensors"
)


def open_pickle(file: Path) -> Arrays:
    """Open a torch file: a state dict, a training checkpoint that holds one as "state_dict", or TorchScript.

    Storages are memory-mapped; an array is read when it is asked for.

    Raises:
        UnsafePickle: it names something other than tensors and plain containers; names it.
        CheckpointError: it is cut, damaged, in the old format of torch before 1.6, or holds no tensors.
    """
    archive = _Archive.open(file)
    try:
        content = _Loader(file, archive.pickle, archive).load()
    except CheckpointError:  # UnsafePickle is one
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{file}: its pickle is damaged ({error!r}): fetch it again") from error
    tensors = _tensors(content)
    if not tensors:
        raise CheckpointError(f"{file} holds no tensors: expected a state dict (names to tensors)")
    return Arrays(
        {name: tensor.shape for name, tensor in tensors.items()},
        {name: tensor.read for name, tensor in tensors.items()},
        (file,),
    )


class _Sealed:
    """What a pickle may hold but not change: its BUILD instruction would otherwise set attributes after the checks."""

    def __setstate__(self, state: object) -> None:
        raise CheckpointError("the pickle tries to change a tensor or a function after it was made")


@dataclass(frozen=True)
class _Storage(_Sealed):
    """The bytes of one or more tensors, in the file."""

    data: NDArray[Any]  # flat; bfloat16 as its bits
    bfloat16: bool


@dataclass(frozen=True)
class _Tensor(_Sealed):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in items

    def read(self) -> NDArray[Any]:
        """A view of the storage where torch laid the tensor out; float32 for bfloat16."""
        data = self.storage.data[self.offset :]
        item = data.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            data, self.shape, [stride * item for stride in self.strides], writeable=False
        )
        if not view.size:
            view = np.empty(self.shape, data.dtype)
        return widen(np.ascontiguousarray(view)).reshape(self.shape) if self.storage.bfloat16 else view


class _Archive:
    """The zip around a pickle. Entries are stored uncompressed, so storages are slices of the mapped file."""

    def __init__(self, file: Path, entries: Mapping[str, zipfile.ZipInfo], prefix: str, content: bytes) -> None:
        self.pickle = content
        self._file = file
        self._entries = entries
        self._prefix = prefix
        self._mapped: NDArray[np.uint8] = np.memmap(file, np.uint8, "r")

    @classmethod
    def open(cls, file: Path) -> _Archive:
        if not zipfile.is_zipfile(file):
            raise CheckpointError(_not_a_zip(file))
        try:
            with zipfile.ZipFile(file) as opened:
                entries = {entry.filename: entry for entry in opened.infolist()}
                pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
                if len(pickles) != 1:
                    raise CheckpointError(f"{file} is a zip, but not one of torch: it has no data.pkl")
                if entries[pickles[0]].compress_type != zipfile.ZIP_STORED:  # torch never does; it could be a bomb
                    raise CheckpointError(f"{file} is a zip, but not one of torch: its data.pkl is compressed")
                prefix = pickles[0].removesuffix("data.pkl")
                if f"{prefix}byteorder" in entries and opened.read(f"{prefix}byteorder") != b"little":
                    raise CheckpointError(f"{file} was written on a big-endian machine; {HOW_TO_CONVERT}")
                return cls(file, entries, prefix, opened.read(pickles[0]))
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise CheckpointError(f"{file} is damaged or cut ({error}): fetch it again") from error

    def storage(self, key: str, dtype: str, items: int) -> _Storage:
        entry = self._entries.get(f"{self._prefix}data/{key}")
        if entry is None or entry.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{self._file} is damaged: storage {key} is not in it. Fetch it again")
        header = self._mapped[entry.header_offset : entry.header_offset + 30]
        if header.size < 30 or bytes(header[:4]) != b"PK\x03\x04":
            raise CheckpointError(f"{self._file} is damaged or cut at storage {key}: fetch it again")
        lengths = int.from_bytes(bytes(header[26:28]), "little") + int.from_bytes(bytes(header[28:30]), "little")
        start = entry.header_offset + 30 + lengths
        base = np.dtype("<u2" if dtype == "bf16" else dtype)
        if entry.file_size < items * base.itemsize or start + entry.file_size > self._mapped.size:
            raise CheckpointError(f"{self._file} is damaged or cut: storage {key} is too short. Fetch it again")
        data = np.frombuffer(self._mapped[start : start + items * base.itemsize], base) if items else np.empty(0, base)
        return _Storage(np.require(data, requirements="A"), dtype == "bf16")


class _Loader(pickle.Unpickler):
    """An unpickler that knows tensors, storages and ordered dicts, and refuses every other name."""

    def __init__(self, file: Path, content: bytes, archive: _Archive) -> None:
        super().__init__(io.BytesIO(content))
        self._file = file
        self._archive = archive
        self._allowed = _allowed_names()
        self._storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        """The harmless stand-in for a name of the pickle."""
        if module == "torch" and name in STORAGES:
            return _StorageType(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return name
        if module == "__torch__" or module.startswith("__torch__."):  # a module of a TorchScript archive
            return _script_module_class()
        if (module, name) in self._allowed:
            return self._allowed[module, name]
        raise UnsafePickle(
            f"{self._file} is a pickle that asks for {module}.{name}, which is more than tensors. It was not run. "
            "If you trust where it comes from, " + HOW_TO_CONVERT
        )

    def persistent_load(self, reference: object) -> _Storage:
        """A storage: ("storage", type, key, device, number of items)."""
        match reference:
            case ("storage", _StorageType() as kind, str() as key, _, int() as items) if items >= 0:
                pass
            case _:
                raise CheckpointError(f"{self._file}: its pickle refers to {reference!r}, expected a storage")
        if key not in self._storages:
            self._storages[key] = self._archive.storage(key, kind.dtype, items)
        return self._storages[key]


@dataclass(frozen=True)
class _StorageType(_Sealed):
    dtype: str


@dataclass(frozen=True)
class _Call(_Sealed):
    """A function that a pickle may call."""

    function: Callable[..., object]

    def __call__(self, *arguments: object) -> object:
        return self.function(*arguments)


def _allowed_names() -> dict[tuple[str, str], Any]:
    rebuild = _Call(_rebuild_tensor)
    return {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild,
        ("torch._utils", "_rebuild_tensor"): rebuild,
        ("torch._utils", "_rebuild_parameter"): _Call(lambda tensor, *_: tensor),
        ("torch", "Size"): _Call(tuple),
        ("torch.jit._pickle", "build_intlist"): _Call(list),
        ("torch.jit._pickle", "build_doublelist"): _Call(list),
        ("torch.jit._pickle", "build_boollist"): _Call(list),
        ("torch.jit._pickle", "build_tensorlist"): _Call(list),
        ("torch.jit._pickle", "restore_type_tag"): _Call(lambda value, *_: value),
    }


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: Iterable[int], strides: Iterable[int], *_: object
) -> _Tensor:
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise CheckpointError("a tensor of the pickle has no storage, or a negative size")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.data.size:
        raise CheckpointError(f"a tensor of shape {list(shape)} reaches past the end of its storage")
    return _Tensor(storage, offset, shape, strides)


def _script_module_class() -> type:
    """A class for one TorchScript module: only holds what it is given. Made anew, so that nothing is shared."""
    return type("ScriptModule", (_ScriptModule,), {})


class _ScriptModule:
    def __setstate__(self, state: object) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def _tensors(content: object) -> dict[str, _Tensor]:
    """The tensors of what was loaded, by dotted name."""
    if isinstance(content, Mapping):
        inner = content.get("state_dict")  # a training checkpoint: beside it lie optimizer and epoch
        state = inner if isinstance(inner, Mapping) else content
        return {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, _Tensor)}
    tensors: dict[str, _Tensor] = {}
    waiting = [("", content)]
    seen: set[int] = set()
    while waiting:
        prefix, module = waiting.pop()
        if not isinstance(module, _ScriptModule) or id(module) in seen:  # a module inside itself would never end
            continue
        seen.add(id(module))
        for name, value in vars(module).items():
            if isinstance(value, _Tensor):
                tensors[prefix + name] = value
            waiting.append((f"{prefix}{name}.", value))
    return tensors


def _not_a_zip(file: Path) -> str:
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        return f"{file} is a Git LFS pointer, not the weights: run `git lfs pull` in its folder"
    if start.startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."):  # the magic number of torch < 1.6
        return f"{file} is in the format of torch before 1.6; {HOW_TO_CONVERT}"
    if start.startswith(b"PK"):
        return f"{file} is cut ({size:,} bytes): its zip has no end. Fetch it again"
    return f"{file} is not a torch file that anmok reads ({size:,} bytes, no zip); {HOW_TO_CONVERT}"
