"""The pass over all pictures: each is read and looked at once, in threads, and judged by itself.

What is kept of a pair is some 60 bytes and its name in memory, and a signature and an embedding on disk (3.5 kB), so
a million pairs fit. Rows are numbered through: held-out pictures first, then the pairs of the source.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress
from anmok.clean.duplicates import Looks
from anmok.clean.look import Look, look_at, prepare_for
from anmok.clean.matching import TextMatcher
from anmok.clean.quality import judge_picture
from anmok.clean.signatures import SIGNATURE
from anmok.clean.texts import count_letters, judge_text, same_text
from anmok.embeddings import Embeddings
from anmok.errors import PictureError
from anmok.files import disk_full
from anmok.pairs import PairError
from anmok.settings import settings as machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.clean.held_out import HeldOut
    from anmok.clean.settings import CleanSettings
    from anmok.encoder import Encoder
    from anmok.pairs import PairSource

    Verdict = tuple[str, str]  # reason and detail

__all__ = ["Measured", "measure", "text_key"]

BATCH = 64  # pictures that are encoded together
AHEAD = 8  # pictures per thread that are read before they are asked for


@dataclass(eq=False)
class Measured:
    """What is known after the pass; later steps drop more rows.

    `held_out`: how many rows, at the beginning, are held-out pictures.
    `names`: of all rows.
    `dropped`: row → reason and detail.
    `texts`: row → text → reason and detail, for texts that are dropped.
    `looks`: of all rows; those of rows that were dropped unseen are zeros.
    `area`, `letters`: pixels of each picture, and letters of its texts; by these the best of a group is chosen.
    `cosine`: of each pair's best text, NaN where that was not asked.
    `keys`, `owners`: `text_key` of every text that was kept, and its row.
    """

    held_out: int
    looks: Looks
    area: NDArray[np.int64]
    letters: NDArray[np.int32]
    cosine: NDArray[np.float32]
    names: list[str] = field(default_factory=list)
    dropped: dict[int, Verdict] = field(default_factory=dict)
    texts: dict[int, dict[str, Verdict]] = field(default_factory=dict)
    keys: array[int] = field(default_factory=lambda: array("Q"))
    owners: array[int] = field(default_factory=lambda: array("q"))

    @classmethod
    def empty(cls, held_out: int, pairs: int, dimension: int | None, folder: Path) -> Measured:
        """Room for so many rows; what is large lies in files of the folder."""
        n = held_out + pairs
        rows = max(n, 1)  # no file of zero bytes can be mapped
        signatures = _mapped(folder / "signatures.u8", np.uint8, (rows, *SIGNATURE))
        embeddings = None if dimension is None else _mapped(folder / "embeddings.f16", np.float16, (rows, dimension))
        files, pixels, hashes = (np.zeros(n, np.uint64) for _ in range(3))
        looks = Looks(files, pixels, hashes, signatures, embeddings)
        return cls(
            held_out, looks, np.zeros(n, np.int64), np.zeros(n, np.int32), np.full(n, np.nan, np.float32), [""] * n
        )

    def drop(self, row: int, reason: str, detail: str) -> None:
        """Drop a pair; the first reason counts."""
        self.dropped.setdefault(row, (reason, detail))

    def drop_texts(self, row: int, verdicts: dict[str, Verdict], left: int) -> None:
        """Drop texts of a pair, and the pair where none is left."""
        if not verdicts:
            return
        self.texts.setdefault(row, {}).update(verdicts)
        if not left:
            self.drop(row, *next(iter(verdicts.values())))

    def alive(self) -> NDArray[np.bool_]:
        """Whether each row is not dropped."""
        alive = np.ones(len(self.names), bool)
        alive[list(self.dropped)] = False
        return alive

    def left(self) -> NDArray[np.int64]:
        """The rows of pairs that are not dropped."""
        rows: NDArray[np.int64] = np.flatnonzero(self.alive())
        return rows[rows >= self.held_out]


def measure(
    source: PairSource, held_out: HeldOut, *, settings: CleanSettings, encoder: Encoder | None, folder: Path
) -> Measured:
    """Look at every picture and every text once.

    Args:
        source: the pairs.
        held_out: pictures to compare with.
        settings: thresholds.
        encoder: for nearest neighbours, and for what does not match.
        folder: for files that are needed as long as the result.
    """
    measured = Measured.empty(len(held_out), len(source), encoder.dimension if encoder else None, folder)
    matcher = TextMatcher(encoder) if encoder and settings.judges_match else None
    batch: list[tuple[int, Any, tuple[str, ...]]] = []
    with progress.task("looking at pictures", len(measured.names)) as advance:
        items = _items(source, held_out, measured, settings, advance)
        for row, texts, look in _looked(items, prepare_for(encoder)):
            if isinstance(look, PictureError):
                measured.drop(row, "unreadable", look.reason)
                continue
            _note(measured, row, look, settings)
            if encoder and row not in measured.dropped:
                batch.append((row, look.input, texts))
            if encoder and len(batch) == BATCH:
                _encode(measured, batch, encoder, matcher, settings)
                batch.clear()
        if encoder and batch:
            _encode(measured, batch, encoder, matcher, settings)
    return measured


def text_key(text: str) -> int:
    """64 bits that stand for a text; case and spaces do not matter."""
    return int.from_bytes(blake2b(same_text(text).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mapped(path: Path, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A new file as an array; as a plain one, because a memmap spends a millisecond on every slice."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    with path.open("wb") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            try:  # a disk that turns out to be full while a map is written ends the process; so take the room now
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if disk_full(error):  # others: a file system that cannot do it
                    raise
    return np.asarray(np.memmap(path, dtype, "r+", shape=shape))


def _items(
    source: PairSource, held_out: HeldOut, measured: Measured, settings: CleanSettings, advance: Callable[[int], None]
) -> Iterator[tuple[int, tuple[str, ...], Path | bytes]]:
    """Rows whose picture has to be looked at: row, texts, picture."""
    held = len(held_out)
    for row in range(held + len(source)):
        advance(1)
        try:
            pair = held_out.read(row) if row < held else source.read(row - held)
        except PairError as error:
            measured.names[row] = error.pair
            measured.drop(row, error.kind, error.reason)
            continue
        measured.names[row] = pair.name
        if row < held:
            yield row, (), pair.picture
            continue
        verdicts = {text: verdict for text in pair.texts if (verdict := judge_text(text, settings))}
        good = tuple(text for text in pair.texts if text not in verdicts)
        measured.drop_texts(row, verdicts, len(good))
        if good:
            measured.letters[row] = sum(map(count_letters, good))
            measured.keys.extend(map(text_key, good))
            measured.owners.extend([row] * len(good))
            yield row, good, pair.picture


def _looked(
    items: Iterable[tuple[int, tuple[str, ...], Path | bytes]], prepare: Callable[[Image.Image], Any] | None
) -> Iterator[tuple[int, tuple[str, ...], Look | PictureError]]:
    """Look at pictures in threads, a few ahead, in order."""

    def look(picture: Path | bytes) -> Look | PictureError:
        try:
            return look_at(picture, prepare)
        except PictureError as error:
            return error

    threads = machine().threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads, "anmok-look") as pool:
        waiting: deque[Any] = deque()
        try:
            for row, texts, picture in items:
                waiting.append((row, texts, pool.submit(look, picture)))
                if len(waiting) > AHEAD * threads:
                    first, own, future = waiting.popleft()
                    yield first, own, future.result()
            for first, own, future in waiting:
                yield first, own, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _note(measured: Measured, row: int, look: Look, settings: CleanSettings) -> None:
    """Take down what a picture looks like, and drop it where it is of no use."""
    looks = measured.looks
    looks.files[row], looks.pixels[row], looks.hashes[row] = look.file, look.pixels, look.hash
    looks.signatures[row] = look.signature
    measured.area[row] = look.quality.width * look.quality.height
    verdict = judge_picture(look.quality, settings) if row >= measured.held_out else None
    if verdict:
        measured.drop(row, *verdict)


def _encode(
    measured: Measured,
    batch: list[tuple[int, Any, tuple[str, ...]]],
    encoder: Encoder,
    matcher: TextMatcher | None,
    settings: CleanSettings,
) -> None:
    """Embed a batch, and compare pictures with their texts where that is asked."""
    with progress.quiet():  # one progress line for the whole pass
        embeddings = encoder.encode_image([picture for _, picture, _ in batch])
        rows = [row for row, _, _ in batch]
        assert measured.looks.embeddings is not None
        measured.looks.embeddings[rows] = embeddings.vectors
        pairs = [place for place, row in enumerate(rows) if row >= measured.held_out]
        if matcher is None or not pairs:
            return
        pictures = Embeddings(embeddings.vectors[pairs], encoder.fingerprint)
        cosines = matcher.cosines(pictures, [batch[place][2] for place in pairs])
    for place, own in zip(pairs, cosines, strict=True):
        row, _, texts = batch[place]
        matches = matcher.match(own)
        verdicts = {
            text: ("mismatch", f"match {match:.2f}, below {settings.min_match:g}")
            for text, match in zip(texts, matches, strict=True)
            if match < settings.min_match and "mismatch" not in settings.keep
        }
        measured.drop_texts(row, verdicts, len(texts) - len(verdicts))
        left = [cosine for text, cosine in zip(texts, own, strict=True) if text not in verdicts]
        measured.cosine[row] = np.nanmax(left) if left and not np.isnan(left).all() else np.nan
