"""Saved web pages: HTML files with their pictures beside them, as a browser saves them ("page.html", "page_files/")."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from anmok import progress
from anmok.pairs.addresses import data_bytes, is_embedded
from anmok.pairs.compact import Texts
from anmok.pairs.files import inside, is_file, read_whole
from anmok.pairs.html import PageError, read_page
from anmok.pairs.kinds import PAGE_SUFFIXES, below
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pictures import picture_name

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

    from anmok.pairs.html import Found
    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["LEFT_OUT", "PageShard", "open_pages", "page_problems"]

LEFT_OUT = {
    "tracking pixel": "declared at most 3 pixels, or an empty picture that a script replaces",
    "icon": "declared at most 32 pixels",
    "sprite": "many icons in one picture",
    "svg": "a drawing in SVG, which is never opened",
    "no address": "an <img> that names no picture",
    "too many": "more than 10,000 pictures on one page",
    "no text": "neither the picture nor the page says anything",
}
"""Why pictures of a page are left out, by kind."""


@dataclass(frozen=True, eq=False)
class PageShard:
    """The pictures of the pages of one folder, or of one page."""

    name: str
    root: Path
    records: Texts  # one a picture, as JSON: page, number on it, file (none: it is in the page), texts, facts

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: the picture is gone, or the page was changed.
        """
        record = json.loads(self.records[index])
        name = f"{self.name}:{picture_name(record['page'])}#{record['number']}"
        if record["file"] is None:
            picture: Path | bytes = self._embedded(record, name)
        else:
            picture = path = self.root / record["file"]
            if not is_file(path):
                raise PairError(name, "missing file", f"{path}: there is no such file any more")
        return Pair(name, picture, tuple(record["texts"]), source=Path(self.name).stem, facts=record["facts"])

    def _embedded(self, record: dict[str, Any], name: str) -> bytes:
        """The bytes of a picture that is written into its page."""
        number = int(record["number"])
        found: list[Found] = []
        with suppress(PageError):
            found = read_page(read_whole(self.root / record["page"], name)).found
        if number < len(found) and list(found[number].texts) == record["texts"]:
            for address in found[number].addresses:
                data = data_bytes(address)
                if data:
                    return data
        raise PairError(name, "changed", f"{record['page']} was changed since it was opened: open it again")


def open_pages(places: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Open saved pages: files, or folders with all pages below them. Pictures must be below the same folder.

    Raises:
        SourceError: a folder holds no page.
        MissingExtra: selectolax is not installed.
    """
    for name, path in places:
        root = path if path.is_dir() else path.parent
        pages = [page for page in below(path) if page.suffix.lower() in PAGE_SUFFIXES] if path.is_dir() else [path]
        if not pages:
            raise SourceError(f"{path}: there is no page ({', '.join(PAGE_SUFFIXES)}) in this folder")
        records: list[str] = []
        with progress.task("reading pages", len(pages)) as advance:
            for page in pages:
                records.extend(_records(root, page, f"{name}:{page.relative_to(root)}", problems))
                advance(1)
        packed = Texts.pack(records)
        yield Opened([PageShard(name, root, packed)], digest(name, packed.data, packed.ends))


def page_problems(where: str, left_out: Counter[str], problems: Problems) -> None:
    """Note the pictures that a page left out, kind by kind."""
    for kind, count in left_out.items():
        problems.add(where, kind, f"{LEFT_OUT[kind]} ({count} on this page)", count=count)


def _records(root: Path, path: Path, where: str, problems: Problems) -> Iterator[str]:
    """What is kept of each picture of a page that is there."""
    try:
        page = read_page(read_whole(path, where))
    except (PageError, PairError) as error:
        problems.add(where, error.kind, error.reason)
        return
    page_problems(where, page.left_out, problems)
    relative = path.relative_to(root).as_posix()
    for number, found in enumerate(page.found):
        file, problem = _resolve(root, path.parent, found)
        if problem is not None:
            problems.add(f"{where}#{number}", *problem)
            continue
        facts = {"page": relative, **found.facts}
        record = {"page": relative, "number": number, "file": file, "texts": found.texts, "facts": facts}
        yield json.dumps(record, ensure_ascii=False)


def _resolve(root: Path, folder: Path, found: Found) -> tuple[str | None, tuple[str, str] | None]:
    """The file of a picture, relative to the root, or None where the page itself holds it; or a problem."""
    outside = False
    for address in found.addresses:
        if is_embedded(address):
            if data_bytes(address):
                return None, None
            continue
        for name in _local_names(address):
            base = root if name.startswith("/") else folder
            path = inside(root, (base / name.lstrip("/")).relative_to(root).as_posix())
            if path is None:
                outside = True
            elif is_file(path):
                return path.relative_to(root).as_posix(), None
    address = picture_name(found.addresses[0][:200])
    if outside:
        return None, ("outside", f"{address} leads out of {root}")
    return None, ("picture not saved", f"{address} is not below {root}: save the page with its pictures")


def _local_names(address: str) -> Iterator[str]:
    """What the file of an address may be called: without and with its query, as browsers and wget save it."""
    try:
        parts = urlsplit(address)
    except ValueError:  # "http://[" and the like
        return
    if parts.scheme or parts.netloc:
        return
    yield unquote(parts.path)
    if parts.query:
        yield unquote(f"{parts.path}?{parts.query}")
    yield parts.path
