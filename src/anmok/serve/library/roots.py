"""The roots: folders of this machine whose pictures clients may have indexed.

Clients know them, and what lies in them, by the root's name and the path below it: where folders lie on this machine is
nobody's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import did_you_mean
from anmok.serve.names import resolved, sendable, sent
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Roots"]


class Roots:
    """The roots of a service, as they were configured: each has a name of its own."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._resolved = {root.name: root.resolve() for root in folders}  # as they are in keys

    def named(self, path: str) -> str | None:
        """What clients call a path of this machine, such as photos/bags/1.jpg; None: no root has it."""
        for name, root in self._resolved.items():
            if Path(path).is_relative_to(root):
                return f"{name}/{Path(path).relative_to(root).as_posix()}"
        return None

    def path(self, named: str) -> str | None:
        """The path of this machine that clients call so; None: there is no such root."""
        name, _, rest = named.partition("/")
        return (self._resolved[name] / rest).as_posix() if name in self._resolved else None

    def folder(self, name: str) -> Path:
        """A folder below the roots, by the root's name and the path below it.

        Raises:
            ApiError: there is none (404), or there are no roots (403).
        """
        if not self.folders:
            raise ApiError(403, "no folders of this machine are open to clients: start the service with --root FOLDER")
        first, _, rest = name.strip("/").partition("/")
        root, rest = next((root for root in self.folders if root.name == first), None), sent(rest)
        if root is None or "\0" in rest:
            near = did_you_mean(first, [root.name for root in self.folders])
            raise ApiError(404, f"there is no root {first!r}.{near}")
        folder = resolved(root / rest, root)
        if folder is None or not folder.is_dir():
            raise ApiError(404, f"there is no folder {name!r}")
        return folder

    def subfolders(self, name: str) -> list[str]:
        """Names of the folders in a folder below the roots, sorted; of the roots themselves for "". As `folder`."""
        if not name.strip("/"):
            return sorted(root.name for root in self.folders)
        folder = self.folder(name)
        try:
            inner = [path.name for path in folder.iterdir() if path.is_dir() and resolved(path, folder) is not None]
        except OSError as error:
            raise ApiError(404, f"the folder {name!r} cannot be read") from error
        return sorted(sendable(one) for one in inner if not one.startswith("."))
