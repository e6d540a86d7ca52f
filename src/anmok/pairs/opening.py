"""Paths, folders and patterns of any kind → one source of pairs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import did_you_mean
from anmok.pairs.folder import open_folders
from anmok.pairs.huggingface import open_huggingface
from anmok.pairs.kinds import expand, kind_of
from anmok.pairs.options import IMAGE_KEY, TEXT_KEY, checked
from anmok.pairs.pages import open_pages
from anmok.pairs.pair import PairSource, SourceError
from anmok.pairs.patterns import is_pattern, matching
from anmok.pairs.problems import Problems, digest
from anmok.pairs.shards import open_shards
from anmok.pairs.table import open_tables
from anmok.pairs.warc import open_warcs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["open_pairs"]

OPENERS = {
    "shards": open_shards,
    "table": open_tables,
    "folder": open_folders,
    "huggingface": open_huggingface,
    "pages": open_pages,
    "warc": open_warcs,
}


def open_pairs(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    kind: str = "auto",
    image_key: str = IMAGE_KEY,
    text_key: str = TEXT_KEY,
    separator: str = "\t",
    templates: str | Path = "small",
    encoding: str = "utf-8",
) -> PairSource:
    r"""Open pictures with texts, whatever they lie in.

    Nothing is fetched, unpacked or decoded: files are gone through once to find where the pairs are. What cannot be
    used is among the `problems` of the source, and the rest is opened.

    Args:
        where: a path, or several, of mixed kinds; braces (`{00000..00099}.tar`) and `*` are expanded.
        kind: one of `KINDS`, or "auto": by name and content.
        image_key: the column of pictures in a table (`file_name` and `image` are tried in Hugging Face layouts).
        text_key: the column of texts; of shards, a further field of their JSON, which comes first.
        separator: of the columns of a table; another one is taken where only that one fits the header.
        templates: for class names where there are no texts: a set (`anmok.texts.TEMPLATES`) or a file.
        encoding: of tables and of `.txt` files in shards.

    Returns:
        A source; its shards are grouped by kind, in the order given, files of a folder by name.

    Raises:
        SourceError: there is nothing that can be used; says what was looked for.
        LabelError: there are no such templates.
        MissingExtra: Parquet or web pages without the library that reads them.
    """
    options = checked(
        kind, image_key=image_key, text_key=text_key, separator=separator, templates=templates, encoding=encoding
    )
    problems = Problems()
    places = _places([where] if isinstance(where, str | os.PathLike) else list(where), problems)
    files: dict[str, list[Path]] = {}
    for path in places:
        found = kind_of(path) if kind == "auto" else kind
        files.setdefault(found, []).extend(expand(path, found))
    names = _names([path for paths in files.values() for path in paths], problems)
    opened = [
        part
        for found, paths in files.items()
        for part in OPENERS[found]([(names[path], path) for path in dict.fromkeys(paths)], options, problems)
    ]
    shards = [shard for part in opened for shard in part.shards if len(shard)]
    source = PairSource(shards, problems.found(), digest(*(part.digest for part in opened)).hex()[:32])
    if not len(source):
        raise SourceError(_nothing(places, files, source))
    return source


def _places(where: Sequence[str | os.PathLike[str]], problems: Problems) -> list[Path]:
    """Every path that was given, patterns expanded."""
    if not where:
        raise SourceError("no source of pairs was given: name files, folders or patterns")
    places: list[Path] = []
    for item in where:
        text = os.fsdecode(item)
        if "://" in text or text.startswith("pipe:"):
            raise SourceError(f"{text}: is an address, and nothing is fetched unasked: download it and name the file")
        if Path(text).exists():
            places.append(Path(text))
            continue
        found, missing = matching(text) if is_pattern(text) else ([], [])
        if not found:
            raise SourceError(f"{text}: {_not_there(Path(text))}")
        places.extend(found)
        for name in missing:
            problems.add(name, "missing shard", f"the pattern {text} names it, and it is not there")
    for path in places:
        if not path.is_dir() and not path.is_file():  # opening a pipe would wait for a writer, for ever
            raise SourceError(f"{path}: is not a regular file but a pipe, socket or device")
    return places


def _not_there(path: Path) -> str:
    if is_pattern(str(path)):
        return "nothing has a name of this pattern"
    try:
        beside = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        beside = []
    return f"there is no such file or folder.{did_you_mean(path.name, beside)}"


def _names(paths: Sequence[Path], problems: Problems) -> dict[Path, str]:
    """A name for each path: its last part, and as many before it as tell it from others of that name."""
    for path, count in Counter(paths).items():
        if count > 1:
            problems.add(str(path), "named twice", f"it is named {count} times, and read once", count=count - 1)
    parts = {path: path.absolute().parts for path in paths}
    names = {path: parts[path][-1] for path in parts}
    length = 1
    while len(set(names.values())) < len(names):
        length += 1
        counts = Counter(names.values())
        names = {path: "/".join(parts[path][-length:]) if counts[name] > 1 else name for path, name in names.items()}
        if length > max(map(len, parts.values())):  # one file by two names, such as a/x.tar and b/../a/x.tar
            break
    return names


def _nothing(places: Sequence[Path], files: dict[str, list[Path]], source: PairSource) -> str:
    """Why there is not one pair."""
    looked = ", ".join(f"{len(paths)} of kind {kind}" for kind, paths in files.items())
    reasons = "; ".join(f"{problem.where}: {problem.reason}" for problem in source.problems[:3])
    more = f" (and {len(source.problems) - 3} more problems)" if len(source.problems) > 3 else ""
    named = ", ".join(map(str, places[:3])) + (", …" if len(places) > 3 else "")
    return f"{named}: there is no pair that can be used. Looked into {looked}. {reasons}{more}".rstrip()
