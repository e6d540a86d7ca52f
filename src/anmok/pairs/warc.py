"""Web archives (WARC): pages and pictures as a crawler fetched them, pairs of one picture and what its page says.

CLIP's 400 million pairs were gathered from pages like these (Radford et al. 2021, section 2.2); see `html.py`. A
picture counts where its own response is in one of the archives that are opened together.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from anmok import progress
from anmok.pairs.addresses import data_bytes, is_embedded
from anmok.pairs.archive import ArchiveStopped, Record, RecordError, frames, load_record
from anmok.pairs.compact import Texts
from anmok.pairs.files import MOST_BYTES, read_at
from anmok.pairs.html import Page, PageError, read_page
from anmok.pairs.pages import page_problems
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pictures import SUFFIXES, picture_name
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["WarcShard", "open_warcs"]

HTML = ("text/html", "application/xhtml+xml")
MOST_HOPS = 5  # of redirects
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)

Place = tuple[int, int, int]  # number of the archive, offset and length of the record in it


@dataclass(frozen=True, eq=False)
class WarcShard:
    """The pairs of the pages of one archive; their pictures may be in any of those opened with it."""

    name: str
    archives: tuple[tuple[Path, int], ...]  # path and bytes of each
    records: Texts  # one a pair, as JSON: page, number on it, place of its picture (or of its page), texts, facts

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: the archive is gone, changed or damaged, or the picture is packed in an unknown way.
        """
        record = json.loads(self.records[index])
        name = f"{self.name}:{picture_name(record['page'])}#{record['number']}"
        archive, offset, length = record["place"]
        path, size = self.archives[archive]
        (data,) = read_at(path, [(offset, length)], size=size, pair=name)
        try:
            found = load_record(data)
            if found is None:
                picture = b""
            else:
                picture = _embedded(found, record["number"]) if record["embedded"] else found.payload()
        except (RecordError, PageError) as error:
            raise PairError(name, error.kind, error.reason) from error
        if not picture:
            raise PairError(name, "damaged", "its picture is empty in the archive")
        source = Path(self.name.removesuffix(".gz")).stem
        return Pair(name, picture, tuple(record["texts"]), source=source, facts=record["facts"])


def open_warcs(files: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Open web archives together, each given as name and path.

    Raises:
        SourceError: one cannot be read, or one cannot jump in it.
        MissingExtra: warcio or selectolax is not installed.
    """
    files = list(files)
    web = _Web([name for name, _ in files], problems)
    archives: list[tuple[Path, int]] = []
    for number, (name, path) in enumerate(files):
        try:
            archives.append((path, path.stat().st_size))
            with path.open("rb") as file, progress.task(f"reading {name}", archives[-1][1]) as advance:
                for length in _scan(web, number, path, file):
                    advance(length)
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {system_reason(error)}") from error
    for number, (name, _) in enumerate(files):
        records = Texts.pack(_resolved(web, number))
        yield Opened([WarcShard(name, tuple(archives), records)], digest(name, records.data, records.ends))


class _Web:
    """What the archives hold: pairs in the order of their pages, pictures and redirects by address."""

    def __init__(self, names: Sequence[str], problems: Problems) -> None:
        self.names = names
        self.problems = problems
        self.pairs: list[list[dict[str, Any]]] = [[] for _ in names]  # of each archive
        self._pictures: dict[str, Place] = {}
        self._elsewhere: dict[str, str] = {}

    def find(self, address: str) -> Place | None:
        """Where the picture of an address is."""
        key = _key(address)
        for _ in range(MOST_HOPS):
            if key in self._pictures:
                return self._pictures[key]
            key = self._elsewhere.get(key, "")
        return None

    def take(self, record: Record, place: Place) -> None:
        """Take in a page, a picture, or a redirect.

        Raises:
            RecordError, PageError: it is a page that cannot be read.
        """
        kind = record.headers.get("content-type", "").partition(";")[0].strip().lower()
        key = _key(record.address)
        if record.kind == "revisit" and record.refers_to:
            self._elsewhere.setdefault(key, _key(record.refers_to))
        elif 300 <= record.status < 400 and "location" in record.headers:
            self._elsewhere.setdefault(key, _key(_joined(record.address, record.headers["location"])))
        elif record.kind not in ("response", "resource") or record.status not in (0, 200):
            return
        elif kind in HTML:
            self._take_page(record, place)
        elif _is_picture(kind, record.address):
            self._pictures.setdefault(key, place)

    def _take_page(self, record: Record, place: Place) -> None:
        page = _page(record)
        page_problems(f"{self.names[place[0]]}:{picture_name(record.address)}", page.left_out, self.problems)
        base = _joined(record.address, page.base)
        for number, found in enumerate(page.found):
            pair = {
                "page": record.address,
                "number": number,
                "addresses": [_joined(base, address) for address in found.addresses if not is_embedded(address)],
                "place": place if any(map(data_bytes, found.addresses)) else None,
                "texts": found.texts,
                "facts": {"page": record.address, **found.facts},
            }
            self.pairs[place[0]].append(pair)


def _scan(web: _Web, number: int, path: Path, file: IO[bytes]) -> Iterator[int]:
    """Go through one archive once; yields the length of each record."""
    name = web.names[number]
    try:
        for offset, length in frames(str(path), file, path.stat().st_size):
            file.seek(offset)
            try:
                record = load_record(file.read(length)) if length < MOST_BYTES else None
                if record is not None and record.address:
                    web.take(record, (number, offset, length))
            except (RecordError, PageError) as error:
                web.problems.add(f"{name}:{offset}", error.kind, error.reason)
            yield length
    except ArchiveStopped as stopped:
        lost = "; the records before are used, whatever came after is lost"
        web.problems.add(name, stopped.kind, stopped.reason + lost)


def _resolved(web: _Web, number: int) -> Iterator[str]:
    """What is kept of each pair of one archive whose picture is there; the others are counted page by page."""
    missing: Counter[str] = Counter()
    example: dict[str, str] = {}
    for pair in web.pairs[number]:
        addresses = pair.pop("addresses")
        found = next(((address, place) for address in addresses if (place := web.find(address))), None)
        if found is not None:
            pair["facts"] = {"address": found[0], **pair["facts"]}
            pair["place"] = found[1]
        pair["embedded"] = found is None
        if pair["place"] is None:
            missing[pair["page"]] += 1
            example.setdefault(pair["page"], addresses[0] if addresses else "")
            continue
        yield json.dumps(pair, ensure_ascii=False)
    for page, count in missing.items():
        reason = f"{count} pictures of this page, such as {picture_name(example[page][:200])}, are in no archive"
        web.problems.add(f"{web.names[number]}:{picture_name(page)}", "picture not archived", reason, count=count)


def _page(record: Record) -> Page:
    charset = _CHARSET.search(record.headers.get("content-type", ""))
    return read_page(record.payload(), charset=charset[1] if charset else "")


def _embedded(record: Record, number: int) -> bytes:
    """A picture that is written into its page."""
    found = _page(record).found
    addresses = found[number].addresses if number < len(found) else ()
    return next((data for address in addresses if (data := data_bytes(address))), b"")


def _is_picture(kind: str, address: str) -> bool:
    if kind.startswith("image/"):
        return "svg" not in kind
    return kind in ("", "application/octet-stream") and _suffix(address) in SUFFIXES


def _suffix(address: str) -> str:
    try:
        return Path(urlsplit(address).path).suffix.lower()
    except ValueError:
        return ""


def _joined(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:  # "http://[" and the like
        return ""


def _key(address: str) -> str:
    """An address as it is compared: without scheme, default port and fragment, percent signs undone."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    host = parts.netloc.lower().removesuffix(":80").removesuffix(":443")
    return unquote(f"//{host}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else ""))
