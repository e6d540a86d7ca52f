"""What kind of source a path is, by its name and its first bytes, and which files belong to it."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.pairs.files import archive_kind
from anmok.pairs.pair import SourceError
from anmok.pictures import SUFFIXES, find_pictures
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anmok.errors import PictureError

__all__ = ["METADATA", "PAGE_SUFFIXES", "below", "expand", "kind_of"]

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
SUFFIX_KINDS = {
    ".tar": "shards",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "huggingface",
    ".warc": "warc",
    **dict.fromkeys(PAGE_SUFFIXES, "pages"),
}
LOOKED_FOR = (
    "a .tar (WebDataset), a .csv or .tsv, a folder of pictures for each class, metadata.csv, .jsonl or .parquet beside "
    "pictures, a .parquet with pictures, saved .html pages, a .warc or .warc.gz"
)


def kind_of(path: Path) -> str:
    """The kind of source that a file or folder is.

    Raises:
        SourceError: none of `KINDS`; says what was looked for.
    """
    if path.is_dir():
        return _folder_kind(path)
    lower = path.name.lower()
    if lower in METADATA:
        return "huggingface"
    if lower.endswith(".warc.gz"):
        return "warc"
    if lower.endswith(PACKED_TARS):
        return "shards"  # which says how to unpack it
    return SUFFIX_KINDS.get(path.suffix.lower()) or _content_kind(path)


def expand(path: Path, kind: str) -> list[Path]:
    """The files of one kind below a folder, sorted; a file, and a folder that is one source, is itself."""
    if not path.is_dir() or kind in ("folder", "pages"):
        return [path]
    wanted: dict[str, Callable[[], Iterable[Path]]] = {
        "shards": lambda: _direct_or_deep(path, ".tar", *PACKED_TARS),
        "table": lambda: _direct_or_deep(path, ".csv", ".tsv"),
        "warc": lambda: _direct_or_deep(path, ".warc", ".warc.gz"),
        "huggingface": lambda: _metadata(path) or _direct_or_deep(path, ".parquet"),
    }
    found = sorted(wanted[kind]())
    if not found:
        raise SourceError(f"{path}: there is nothing of kind {kind!r} in this folder; kinds are {LOOKED_FOR}")
    return found


def below(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted; what is hidden, and links to folders, are left out."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def _folder_kind(path: Path) -> str:
    if _metadata(path):
        return "huggingface"
    try:
        children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{path}: cannot list this folder: {system_reason(error)}") from error
    found = _likeliest(children)
    if found is None and any(
        next(find_pictures(child, on_error=_ignore), None) for child in children if child.is_dir()
    ):
        return "folder"
    found = found or _likeliest(below(path))
    if found is not None:
        return found
    pictures = sum(child.suffix.lower() in SUFFIXES for child in children)
    what = f"there are {pictures} pictures in it, but no texts" if pictures else "there is no source of pairs in it"
    raise SourceError(f"{path}: {what}. Looked for {LOOKED_FOR}")


def _likeliest(paths: Iterable[Path]) -> str | None:
    """The kind of the files, those before others that hold whole pairs in themselves."""
    kinds = {
        "shards"
        if path.name.lower().endswith(PACKED_TARS)
        else "warc"
        if path.name.lower().endswith(".warc.gz")
        else SUFFIX_KINDS.get(path.suffix.lower())
        for path in paths
    }
    return next((kind for kind in ("shards", "huggingface", "warc", "table", "pages") if kind in kinds), None)


def _metadata(folder: Path) -> list[Path]:
    """One metadata file of a folder and one of each folder in it (its splits)."""
    folders = [folder, *(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))]
    named = ([place / name for name in METADATA if (place / name).is_file()] for place in folders)
    return [files[0] for files in named if files]


def _direct_or_deep(folder: Path, *suffixes: str) -> list[Path]:
    """Files with one of the suffixes in a folder, or, where there are none, anywhere below it."""
    direct = [child for child in folder.iterdir() if child.is_file()]
    for paths in (direct, below(folder)):
        found = [path for path in paths if path.name.lower().endswith(suffixes) and not path.name.startswith(".")]
        if found:
            return found
    return []


def _ignore(error: PictureError) -> None:
    """A folder that cannot be listed is told when the folders are opened."""


def _content_kind(path: Path) -> str:
    """The kind of a file whose name says nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {system_reason(error)}") from error
    unpacked = head
    if head.startswith(b"\x1f\x8b"):
        with suppress(zlib.error):
            unpacked = zlib.decompressobj(31).decompress(head, 4096)
    start = unpacked.removeprefix(b"\xef\xbb\xbf").lstrip()[:100].lower()
    if unpacked.startswith(b"WARC/"):
        return "warc"
    if head[257:262] == b"ustar":
        return "shards"
    if head.startswith(b"PAR1"):
        return "huggingface"
    if start.startswith((b"<!doctype html", b"<html")):
        return "pages"
    packed = archive_kind(head)
    what = f"is packed with {packed[0]}: unpack it first ({packed[1]})" if packed else "is no source of pairs"
    raise SourceError(f"{path}: {what}. Expected {LOOKED_FOR}")
