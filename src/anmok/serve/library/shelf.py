"""Names ↔ folders: all things of one kind lie in a folder of the service, each in a folder of its own."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

from anmok.errors import did_you_mean
from anmok.serve.names import checked_name
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STORE", "Shelf", "beside"]

STORE = ".anmok"  # how the folder of a store ends


class Shelf:
    """The folder of all things of one kind.

    Names that begin with a point are of what is being made or deleted; what a kill left of them is thrown away.

    Args:
        folder: that has them; made if need be.
        kind: what one of them is called in errors.
        suffix: how their folders end.
    """

    def __init__(self, folder: Path, kind: str, *, suffix: str = STORE) -> None:
        self.folder, self._kind, self._suffix = folder, kind, suffix
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(".*"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def names(self) -> list[str]:
        """Of all that is there, sorted."""
        found = (path.name for path in self.folder.iterdir() if path.name.endswith(self._suffix) and path.is_dir())
        return sorted(name.removesuffix(self._suffix) for name in found if not name.startswith("."))

    def place(self, name: str) -> Path:
        """Where a thing of this name is, or would be.

        Raises:
            ApiError: it cannot be a name (422).
        """
        return self.folder / f"{checked_name(name)}{self._suffix}"

    def path(self, name: str) -> Path:
        """Where a thing of this name is.

        Raises:
            ApiError: there is none (404), or it cannot be a name (422).
        """
        path = self.place(name)
        if not path.is_dir():
            raise ApiError(404, f"there is no {self._kind} {name!r}.{did_you_mean(name, self.names())}")
        return path


def beside(path: Path, what: str) -> Path:
    """A name for something that is being made or deleted."""
    return path.with_name(f".{uuid.uuid4().hex}.{what}")
