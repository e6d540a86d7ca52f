"""Honest scores: does this text fit this picture at all? The same meaning for every encoder, text and picture.

A cosine has no fixed meaning: those of one encoder lie around 0.05, those of another around 0.25. So anmok ships
everyday texts and everyday pictures that have nothing to do with each other, and a cosine is placed among what
these unrelated pairs reach:

    match(x, q) = logistic(SLOPE * (cos(x, q) - m) / s)
    m: what one unrelated pair in a hundred reaches; s: standard deviation of unrelated pairs

So 0.5 means the same for CLIP, SigLIP and any other encoder: by chance, one pair in a hundred gets that far. It
depends on picture, text and encoder only: not on the collection, the other labels or the batch. For a picture that
is searched with, the unrelated pairs are pairs of pictures, which lie nearer to each other than to texts.

Why not more? Taking off what a text gets from other pictures, or a picture from other texts (z-scores; CSLS,
Conneau et al. 2018, arXiv 1710.04087; dual softmax, Cheng et al. 2021, arXiv 2109.04290) was measured beside it
(`anmok.evaluate.evaluate_scores`). It helps an encoder that is hardly trained and orders pairs a little better, but
tells present from absent worse: some picture of a collection is always the nearest, so that a query for what is not
there stands out too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anmok.embeddings import Embeddings, unit
from anmok.settings import settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = [
    "THRESHOLD",
    "Background",
    "Kind",
    "background",
    "background_pictures",
    "background_texts",
    "ship_background",
]

THRESHOLD = 0.5  # of `match`: from here on a text fits a picture
RARE = 0.01  # share of unrelated pairs at or above 0.5
SLOPE = 4.0  # of the logistic curve, per standard deviation

DATA = Path(__file__).parent / "data"
SHEET, SHIPPED = DATA / "background.webp", DATA / "backgrounds"
TILE = 96  # pixels; background.webp is a sheet of such squares, background.csv says where each is from
PICTURES = 96  # squares on the sheet

Kind = Literal["text", "picture"]  # what a picture is compared with


@dataclass(frozen=True, eq=False)
class Background:
    """Everyday texts [k, d] and pictures [c, d], as one encoder sees them."""

    texts: Embeddings
    pictures: Embeddings

    def match(self, pictures: Embeddings, queries: Embeddings, *, kind: Kind = "text") -> NDArray[np.float32]:
        """How well each query fits each picture.

        Args:
            pictures: [n, d].
            queries: [m, d]: texts, labels, or pictures that are searched with.
            kind: of the queries; "picture" also for arithmetic that a picture takes part in.

        Returns:
            [n, m] in 0..1. At or above THRESHOLD the query fits.

        Raises:
            FingerprintMismatch: another encoder made them.
        """
        self.texts.require(queries.fingerprint)
        return self.match_cosines(pictures @ queries, kind=kind)

    def match_cosines(self, cosines: NDArray[np.float32], *, kind: Kind = "text") -> NDArray[np.float32]:
        """`match` of cosines between pictures and queries, of any shape."""
        rare, spread = self._unrelated_texts if kind == "text" else self._unrelated_pictures
        deviations = (np.asarray(cosines, np.float32) - rare) / spread
        logistic: NDArray[np.float32] = np.float32(0.5) * (1 + np.tanh(np.float32(SLOPE / 2) * deviations))
        return logistic

    @cached_property
    def _unrelated_texts(self) -> tuple[np.float32, np.float32]:
        return _rare_and_spread(self.pictures @ self.texts)

    @cached_property
    def _unrelated_pictures(self) -> tuple[np.float32, np.float32]:
        cosines = self.pictures @ self.pictures
        return _rare_and_spread(cosines[np.triu_indices(len(cosines), 1)])


def _rare_and_spread(cosines: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """What a share RARE of unrelated pairs reaches, and their standard deviation."""
    return np.float32(np.quantile(cosines, 1 - RARE)), max(cosines.std(), np.float32(1e-6))


def background(encoder: Encoder) -> Background:
    """The background, encoded.

    For the built-in checkpoint it is shipped. For another it is encoded once (96 pictures and 238 short texts, or
    the English half where the encoder cannot read Korean) and kept in the folder `backgrounds` of
    `settings().home`, by fingerprint; where that folder cannot be written it is encoded again.
    """
    name = _file_name(encoder)
    cache = settings().home / "backgrounds" / name
    vectors = _read(SHIPPED / name, encoder.dimension)
    if vectors is None:
        vectors = _read(cache, encoder.dimension)
    if vectors is None:
        vectors = _encode(encoder)
        _write(cache, vectors)
    rows = Embeddings(unit(vectors), encoder.fingerprint)
    return Background(rows[:-PICTURES], rows[-PICTURES:])


def ship_background(encoder: Encoder) -> Path:
    """Put the background of the built-in checkpoint into the package, in place of an older one; after training it.

    Raises:
        OSError: the package cannot be written.
    """
    SHIPPED.mkdir(exist_ok=True)
    for old in SHIPPED.glob("*.npy"):
        old.unlink()
    np.save(SHIPPED / _file_name(encoder), _encode(encoder))
    return SHIPPED / _file_name(encoder)


def background_texts() -> list[str]:
    """The everyday texts, English and Korean in turn."""
    lines = (DATA / "background.txt").read_text(encoding="utf-8").splitlines()
    return [text.strip() for line in lines if not line.startswith("#") for text in line.split("|") if text.strip()]


def background_pictures() -> list[NDArray[np.uint8]]:
    """The everyday pictures, uint8 [96, 96, 3] each."""
    from PIL import Image

    with Image.open(SHEET) as image:
        sheet = np.asarray(image.convert("RGB"))
    tops, lefts = (range(0, side, TILE) for side in sheet.shape[:2])
    return [sheet[top : top + TILE, left : left + TILE] for top in tops for left in lefts]


def _encode(encoder: Encoder) -> NDArray[np.float16]:
    texts = background_texts()
    readable = texts if encoder.reads(texts) else texts[::2]
    parts = (encoder.encode_text(readable).vectors, encoder.encode_image(background_pictures()).vectors)
    return np.concatenate(parts).astype(np.float16)


def _file_name(encoder: Encoder) -> str:
    digest = hashlib.sha256("\n".join(background_texts()).encode() + SHEET.read_bytes()).hexdigest()[:8]
    return f"{encoder.fingerprint}-{digest}.npy"


def _read(path: Path, dimension: int) -> NDArray[np.float16] | None:
    """Vectors from a file, or None where there is none or it is damaged."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = (
        vectors.ndim == 2 and vectors.shape[1] == dimension and len(vectors) > PICTURES and np.isfinite(vectors).all()
    )
    return vectors if usable else None


def _write(path: Path, vectors: NDArray[np.float16]) -> None:
    """Write whole or not at all: another process may be reading. A cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, vectors)
        Path(part).replace(path)
    except OSError:
        return
