"""How one of our arrays is made from the arrays of another layout, and how it goes back.

A layout is a table `our name → Source`, built from the spec. Loading reads it forwards
(`fuse`), saving backwards (`split`), and checking compares only names and shapes, before
any data is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anmok.errors import WeightsMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Source", "Sources", "check", "source"]

Shape = tuple[int, ...]
SHOWN = 5  # names listed in an error before "and n more"


@dataclass(frozen=True)
class Source:
    """One of our arrays, as a layout stores it.

    `parts`: names in the layout; several are joined along the first axis (query, key and value).
    `change`: what happens after joining:
        "same"       nothing, apart from axes of length 1 that come or go ([1, 1, w] → [w])
        "transpose"  [in, out] → [out, in]
        "patches"    NaFlex's linear patch embedding [w, p*p*3] → [w, 3, p, p]
    `ones`: axes of length 1 that the layout has in front, for saving.
    """

    parts: tuple[str, ...]
    change: Literal["same", "transpose", "patches"] = "same"
    ones: int = 0

    def fuse(self, arrays: Sequence[NDArray[Any]], shape: Shape) -> NDArray[Any]:
        """Join the layout's arrays into ours, of `shape`. One part is not copied."""
        array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        if self.change == "transpose":
            array = array.T
        elif self.change == "patches":
            width, channels, side, _ = shape
            array = array.reshape(width, side, side, channels).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array.reshape(shape)).reshape(shape)  # ascontiguousarray makes a scalar 1-d

    def split(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut our array into the layout's parts, equal in size: the way back, for saving."""
        if self.change == "transpose":
            array = array.T
        elif self.change == "patches":
            array = array.transpose(0, 2, 3, 1).reshape(array.shape[0], -1)
        array = array.reshape((1,) * self.ones + array.shape)
        return [array] if len(self.parts) == 1 else np.split(array, len(self.parts))

    def fits(self, shapes: Sequence[Shape], wanted: Shape) -> bool:
        """Whether parts of these shapes make an array of the wanted shape."""
        if len(shapes) > 1:
            if any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
                return False
            joined: Shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        else:
            joined = shapes[0]
        if self.change == "transpose":
            joined = joined[::-1]
        elif self.change == "patches":
            wanted = (wanted[0], wanted[1] * wanted[2] * wanted[3])
        return _without_ones(joined) == _without_ones(wanted)


Sources = Mapping[str, Source]


def source(*parts: str, change: Literal["same", "transpose", "patches"] = "same", ones: int = 0) -> Source:
    """Short for `Source(parts, change, ones)`, so that layouts read as tables."""
    return Source(parts, change, ones)


def check(
    sources: Sources,
    wanted: Mapping[str, Shape],
    given: Mapping[str, Shape],
    *,
    ignored: Callable[[str], bool],
    where: str,
) -> None:
    """Compare a layout's names and shapes with what the spec needs.

    Args:
        sources: our name → where it comes from.
        wanted: our name → shape, from `weight_shapes`.
        given: the layout's name → shape, as the file has it.
        ignored: says of a name in the file that it carries no weights (buffers of older versions).
        where: file or folder, for the message.

    Raises:
        WeightsMismatch: lists what is missing, unexpected or of another shape, all in one message.
    """
    needed = [part for name in wanted for part in sources[name].parts]
    missing = [part for part in needed if part not in given]
    unexpected = sorted(name for name in set(given) - set(needed) if not ignored(name))
    misshapen = [
        _shapes(sources[name], given, shape)
        for name, shape in wanted.items()
        if all(part in given for part in sources[name].parts)
        and not sources[name].fits([given[part] for part in sources[name].parts], shape)
    ]
    problems = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if problems:
        raise WeightsMismatch(
            f"{where}: the weights do not fit the config. {'; '.join(problems)}. "
            "The file is of another model or cut; nothing was loaded"
        )


def _shapes(origin: Source, given: Mapping[str, Shape], wanted: Shape) -> str:
    shapes = " + ".join(str(list(given[part])) for part in origin.parts)
    return f"{' + '.join(origin.parts)} is {shapes}, the config asks for {list(wanted)}"


def _some(names: Sequence[str]) -> str:
    tail = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + tail


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)
