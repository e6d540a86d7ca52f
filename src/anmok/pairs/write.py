"""Pairs → WebDataset shards: `KEY.jpg`, `KEY.txt` (the first text) and `KEY.json` (all that is known).

Equal pairs give equal bytes, and a shard is there as a whole or not at all.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from anmok.pairs.files import read_whole
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pictures import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["write_shards"]

SHARD_BYTES = 256 << 20

STARTS = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG", ".png"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (0, b"II*\x00", ".tif"),
    (0, b"MM\x00*", ".tif"),
    (4, b"ftypavif", ".avif"),
    (4, b"ftyphei", ".heic"),
)


def write_shards(
    pairs: Iterable[Pair | PairError],
    folder: str | os.PathLike[str],
    *,
    shard_bytes: int = SHARD_BYTES,
    prefix: str = "pairs",
    on_error: Callable[[PairError], None] | None = None,
) -> list[Path]:
    """Write pairs into `folder` as `prefix-00000.tar` and so on, in their order; `open_pairs` reads them back.

    Pictures keep their bytes. The modification times are zero, so equal pairs give equal shards. A shard appears
    under its name once it is whole and on the disk.

    Args:
        pairs: also as a `PairSource` gives them, errors among them.
        folder: is made where it is not there.
        shard_bytes: a shard is closed before it grows over this; one pair alone may be larger.
        prefix: of the names.
        on_error: takes a pair that cannot be written, and the rest goes on; without it, the error is raised.

    Returns:
        The shards, in order.

    Raises:
        SourceError: there is no pair to write, or the folder has shards of that name already.
        PairError: a picture cannot be read, or facts are not JSON.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.glob(f"{prefix}-*.tar")):
        raise SourceError(
            f"{target}: there are shards {prefix}-*.tar already, and new ones would mix with them: "
            "give another folder or prefix, or remove them"
        )
    shards: list[_Writer] = []
    try:
        for number, files in enumerate(_written(pairs, on_error)):
            if not shards or shards[-1].size + _size(files) > shard_bytes:
                if shards:
                    shards[-1].close()
                shards.append(_Writer(target / f"{prefix}-{len(shards):05d}.tar"))
            shards[-1].add(f"{number:08d}", files)
        if not shards:
            raise SourceError(f"{target}: there is no pair to write")
        shards[-1].close()
    finally:
        if shards:
            shards[-1].give_up()
    return [shard.path for shard in shards]


def _written(
    pairs: Iterable[Pair | PairError], on_error: Callable[[PairError], None] | None
) -> Iterator[list[tuple[str, bytes]]]:
    """The files of each pair, as (extension, bytes)."""
    for pair in pairs:
        try:
            if isinstance(pair, PairError):
                raise pair
            yield _files(pair)
        except PairError as error:
            if on_error is None:
                raise
            on_error(error)


def _files(pair: Pair) -> list[tuple[str, bytes]]:
    if not pair.texts:
        raise PairError(pair.name, "no text", "a pair needs a text")
    picture = pair.picture if isinstance(pair.picture, bytes) else read_whole(pair.picture, pair.name)
    texts = [_whole(text) for text in pair.texts]
    record = {
        "texts": texts,
        "labels": list(pair.labels),
        "source": pair.source,
        "captions": {language: [_whole(text) for text in some] for language, some in pair.captions.items()},
        "facts": dict(pair.facts),
    }
    return [
        (_extension(pair, picture), picture),
        (".txt", texts[0].encode()),
        (".json", _json(record, pair.name)),
    ]


def _whole(text: str) -> str:
    """Half letters (lone surrogates), which UTF-8 cannot hold, become `?`."""
    return text.encode("utf-8", "replace").decode()


def _extension(pair: Pair, picture: bytes) -> str:
    """The picture's own suffix, else that of its format."""
    name = pair.name if isinstance(pair.picture, bytes) else pair.picture.name
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    return next((known for offset, start, known in STARTS if picture.startswith(start, offset)), ".jpg")


def _json(record: Mapping[str, object], name: str) -> bytes:
    try:
        text = json.dumps(record, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PairError(name, "not JSON", f"its facts cannot be written as JSON: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a letter, as JavaScript cuts them
        return json.dumps(record, sort_keys=True).encode()


def _size(files: list[tuple[str, bytes]]) -> int:
    return sum(tarfile.BLOCKSIZE + -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE for _, data in files)


class _Writer:
    """One shard: written under another name, and renamed when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._file: IO[bytes] = self._partial.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, key: str, files: list[tuple[str, bytes]]) -> None:
        for extension, data in files:
            member = tarfile.TarInfo(key + extension)  # time, owner and group are zero
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))
        self.size += _size(files)

    def close(self) -> None:
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.path)
        if os.name == "posix":  # the new name, too, must survive a power cut
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def give_up(self) -> None:
        """Remove what was not closed."""
        self._file.close()
        self._partial.unlink(missing_ok=True)
