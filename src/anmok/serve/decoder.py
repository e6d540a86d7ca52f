"""The process that decodes pictures of strangers: nothing else is in it, so that nothing else falls with it.

Started as `python -m anmok.serve.decoder MEGABYTES`. It reads jobs from its standard input and writes answers to
its standard output, each behind its length. Jobs are pickled by the service; answers are not, because the service does
not trust what comes back from here: a line of JSON, and the bytes of arrays that it describes.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from anmok.errors import PictureError
from anmok.pictures import picture_size, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.pictures import Preparer

__all__ = ["LENGTH", "Job", "Measured", "Thumbnail", "arrays_of", "frame"]

LENGTH = struct.Struct("<Q")  # of what follows, bytes


class Thumbnail:
    """A small JPEG of a picture, no side longer than `side` pixels."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, picture: Any) -> tuple[Any, ...]:
        """The bytes of the JPEG, uint8 [n]."""
        side = self.side
        image = read(picture, needed=lambda size: (min(side, size[0]), min(side, size[1])))
        image.thumbnail((side, side))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=82)
        return (np.frombuffer(file.getvalue(), np.uint8),)


class Measured:
    """What a tower takes of a picture, behind its width and height, int64 [2] (0 where they cannot be told)."""

    def __init__(self, prepare: Preparer) -> None:
        self.prepare = prepare

    def __call__(self, picture: bytes) -> tuple[Any, ...]:
        """The size, and the arrays for the tower."""
        width, height = picture_size(picture)
        return (np.array((width or 0, height or 0), np.int64), *self.prepare(picture))


Job = tuple["Measured | Thumbnail", Any]  # what is done, and with which picture


def frame(content: bytes) -> bytes:
    """A message as it goes through a pipe."""
    return LENGTH.pack(len(content)) + content


def arrays_of(content: bytes) -> list[Any]:
    """The arrays of an answer.

    Raises:
        PictureError: the picture cannot be used.
        ValueError: this is no answer.
    """
    head, _, body = content.partition(b"\n")
    told = json.loads(head)
    if "reason" in told:
        raise PictureError(str(told["name"]), str(told["reason"]))
    arrays, start = [], 0
    for kind, shape in told["arrays"]:
        if kind not in ("|u1", "|b1", "<i8"):
            raise ValueError(f"an array of {kind}")
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(body, kind, count, start).reshape(shape))
        start += arrays[-1].nbytes
    return arrays


def _packed(arrays: Sequence[Any]) -> bytes:
    head = json.dumps({"arrays": [(array.dtype.str, list(array.shape)) for array in arrays]})
    return head.encode() + b"\n" + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def _bound_memory(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def _answer(job: Job) -> bytes:
    make, picture = job
    try:
        return _packed(make(picture))
    except PictureError as error:
        return json.dumps({"name": error.picture, "reason": error.reason}).encode() + b"\n"
    except MemoryError:
        return json.dumps({"name": "picture", "reason": "takes too much memory to decode"}).encode() + b"\n"


def _work(jobs: IO[bytes], answers: IO[bytes]) -> None:
    while len(head := jobs.read(LENGTH.size)) == LENGTH.size:
        job = pickle.loads(jobs.read(LENGTH.unpack(head)[0]))  # noqa: S301  (from the service, not from strangers)
        answers.write(frame(_answer(job)))
        answers.flush()


def main() -> None:
    """Work until the service goes away."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may be written among the answers
    _bound_memory(int(sys.argv[1]))
    _work(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
