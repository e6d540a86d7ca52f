"""The weights of a loaded checkpoint: our names, read and fused when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anmok.checkpoints.sources import Sources, check
from anmok.errors import WeightsMismatch
from anmok.models.spec import DualSpec, weight_shapes

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.checkpoints.arrays import Arrays

__all__ = ["Weights", "bind"]


class Weights(Mapping[str, NDArray[Any]]):
    """Our arrays over a memory-mapped file, in the order of `weight_shapes`.

    Access reads: an array that the file stores as it is stays a view of the file, a fused one
    (query, key and value) is joined anew each time. `files` is what they come from.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], sources: Sources, arrays: Arrays) -> None:
        self._shapes = dict(shapes)
        self._sources = sources
        self._arrays = arrays

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights files, for caching what was computed from them."""
        return self._arrays.files

    def __getitem__(self, name: str) -> NDArray[Any]:
        source = self._sources[name] if name in self._shapes else None
        if source is None:
            raise KeyError(name)
        array = source.fuse([self._arrays[part] for part in source.parts], self._shapes[name])
        if not np.issubdtype(array.dtype, np.floating):
            raise WeightsMismatch(f"{' + '.join(source.parts)} holds {array.dtype}, expected floating-point numbers")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def bind(spec: DualSpec, sources: Sources, arrays: Arrays, *, ignored: Callable[[str], bool], where: str) -> Weights:
    """Check the arrays of a file against the spec and give them our names.

    Raises:
        WeightsMismatch: names or shapes do not fit; nothing was read.
    """
    shapes = weight_shapes(spec)
    check(sources, shapes, arrays.shapes, ignored=ignored, where=where)
    return Weights(shapes, sources, arrays)
