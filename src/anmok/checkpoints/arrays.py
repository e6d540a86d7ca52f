"""Named arrays in files: safetensors (whole or in shards), memory-mapped and read on access.

The header is read here rather than by the safetensors library because its NumPy face
copies every array and has no bfloat16. Format: 8 bytes little-endian header length, a JSON
header of {name: {dtype, shape, data_offsets}}, then the data
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anmok.errors import CheckpointError, MissingFile

__all__ = ["Arrays", "open_arrays", "read_json", "widen"]

Shape = tuple[int, ...]
LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bf16",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


class Arrays(Mapping[str, NDArray[Any]]):
    """Arrays by name, read when they are asked for. `shapes` needs no data; `files` is what they came from."""

    def __init__(
        self, shapes: Mapping[str, Shape], readers: Mapping[str, Callable[[], NDArray[Any]]], files: tuple[Path, ...]
    ) -> None:
        self.shapes = dict(shapes)
        self.files = files
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def renamed(self, rename: Callable[[str], str]) -> Arrays:
        """The same arrays under other names."""
        return Arrays(
            {rename(name): shape for name, shape in self.shapes.items()},
            {rename(name): reader for name, reader in self._readers.items()},
            self.files,
        )


def open_arrays(file: Path) -> Arrays:
    """Open a weights file: `.safetensors`, a `.bin`/`.pt`/`.pth` pickle, or an index `*.index.json` of shards.

    Raises:
        MissingFile: the file, or a shard that the index names, is not there.
        CheckpointError: it is damaged, cut, or of an unknown kind.
        UnsafePickle: a pickle asks for more than tensors.
    """
    if not file.is_file():
        raise MissingFile(f"{file} is not there")
    if file.name.endswith(".index.json"):
        return _open_shards(file)
    if file.suffix == ".safetensors":
        return _open_safetensors(file)
    from anmok.checkpoints.pickles import open_pickle

    return open_pickle(file)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MissingFile: the file is not there.
        CheckpointError: it does not hold a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFile(f"{file} is not there") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds a JSON {type(content).__name__}, expected an object")
    return content


def widen(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as its bits → float32, exact: bfloat16 is the upper half of a float32. NumPy has no bfloat16."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: Shape
    begin: int
    end: int


def _open_safetensors(file: Path) -> Arrays:
    entries = _read_header(file)
    data = np.memmap(file, np.uint8, "r") if entries else np.empty(0, np.uint8)

    def reader(entry: _Entry) -> Callable[[], NDArray[Any]]:
        return lambda: _view(data[entry.begin : entry.end], entry.dtype, entry.shape)

    return Arrays(
        {name: entry.shape for name, entry in entries.items()},
        {name: reader(entry) for name, entry in entries.items()},
        (file,),
    )


def _view(data: NDArray[np.uint8], dtype: str, shape: Shape) -> NDArray[Any]:
    if dtype == "bf16":
        return widen(np.frombuffer(data, "<u2")).reshape(shape)
    array = np.require(np.frombuffer(data, dtype), requirements="A")  # an odd header misaligns the data
    return array.reshape(shape)


def _read_header(file: Path) -> dict[str, _Entry]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise CheckpointError(f"{file} is not a safetensors file, or it is cut ({size:,} bytes): fetch it again")
        text = stream.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        entries = {
            name: _Entry(
                _dtype(file, name, item["dtype"]),
                tuple(int(side) for side in item["shape"]),
                8 + length + int(item["data_offsets"][0]),
                8 + length + int(item["data_offsets"][1]),
            )
            for name, item in header.items()
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: its safetensors header is damaged ({error!r}): fetch it again") from error
    for name, entry in entries.items():
        _check_entry(file, name, entry, size)
    return entries


def _check_entry(file: Path, name: str, entry: _Entry, size: int) -> None:
    item = 2 if entry.dtype == "bf16" else np.dtype(entry.dtype).itemsize
    if min(entry.shape, default=0) < 0 or entry.end - entry.begin != math.prod(entry.shape) * item:
        raise CheckpointError(f"{file}: {name} has shape {list(entry.shape)} but another number of bytes: damaged")
    if not 8 <= entry.begin <= entry.end <= size:
        raise CheckpointError(f"{file} is cut: {name} ends at byte {entry.end:,} of {size:,}. Fetch it again")


def _dtype(file: Path, name: str, code: str) -> str:
    if code not in DTYPES:
        raise CheckpointError(f"{file}: {name} is stored as {code}, which anmok does not read ({', '.join(DTYPES)})")
    return DTYPES[code]


def _open_shards(index: Path) -> Arrays:
    shard_of = read_json(index).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(name, str) for name in shard_of.values()):
        raise CheckpointError(f"{index} has no weight_map of names to files")
    shards: dict[str, Arrays] = {}
    for name in sorted(set(shard_of.values())):
        file = index.parent / name
        if Path(name).name != name:
            raise CheckpointError(f"{index} names a shard outside its folder: {name}")
        if not file.is_file():
            raise MissingFile(f"{file} is not there: {index.name} names it as one of the shards of the weights")
        shards[name] = open_arrays(file)
    lost = [name for name, shard in shard_of.items() if name not in shards[shard]]
    if lost:
        raise CheckpointError(f"{index.parent}: {lost[0]} is not in {shard_of[lost[0]]}, where {index.name} puts it")
    return Arrays(
        {name: shape for shard in shards.values() for name, shape in shard.shapes.items()},
        {name: reader for shard in shards.values() for name, reader in shard._readers.items()},
        tuple(file for shard in shards.values() for file in shard.files),
    )
