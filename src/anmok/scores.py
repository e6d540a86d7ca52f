"""Honest scores: does this text fit this picture at all? The same meaning for every encoder, text and picture.

A cosine has no fixed meaning: those of one encoder lie around 0.05, those of another around 0.25. So anmok ships
everyday texts and everyday pictures that have nothing to do with each other, and a cosine is placed among what
these unrelated pairs reach:

    match(x, q) = logistic(SLOPE * (cos(x, q) - m) / s)
    m: what one unrelated pair in a hundred reaches; s: standard deviation of unrelated pairs

So 0.5 means the same for CLIP, SigLIP and any other encoder: by chance, one pair in a hundred gets that far. It
depends on picture, text and encoder only: not on the collection, the other labels or the batch. Where a picture, or
arithmetic of texts and pictures, is searched with, the unrelated queries are pictures, or the same arithmetic of
unrelated things: pictures lie nearer to each other than to texts.

Why not more? Taking off what a text gets from other pictures, or a picture from other texts (z-scores; CSLS,
Conneau et al. 2018, arXiv 1710.04087; dual softmax, Cheng et al. 2021, arXiv 2109.04290) was measured beside it
(`anmok.evaluate.evaluate_scores`; the table is in docs/decisions.md). It helps an encoder that is hardly trained,
but tells present from absent worse as soon as one is trained: some picture of a collection is always the nearest,
so that a query for what is not there stands out too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anmok.embeddings import Embeddings, unit
from anmok.everyday import PICTURES, SHEET, everyday_pictures, everyday_texts
from anmok.files import write_whole
from anmok.settings import settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = [
    "THRESHOLD",
    "Background",
    "Terms",
    "background",
    "ship_background",
]

THRESHOLD = 0.5  # of `match`: from here on a text fits a picture
RARE = 0.01  # share of unrelated pairs at or above 0.5
SLOPE = 4.0  # of the logistic curve, per standard deviation

SHIPPED = Path(__file__).parent / "data" / "backgrounds"
DRAWS = 2000  # random arithmetics of everyday things

Kind = Literal["text", "picture"]
Terms = tuple[tuple[float, Kind], ...]  # what a query is made of: weight and kind of each term


@dataclass(frozen=True, eq=False)
class Background:
    """Everyday texts [k, d] and pictures [c, d], as one encoder sees them."""

    texts: Embeddings
    pictures: Embeddings
    _known: dict[Terms, tuple[np.float32, np.float32]] = field(default_factory=dict, init=False, repr=False)

    def match(self, pictures: Embeddings, texts: Embeddings) -> NDArray[np.float32]:
        """How well each text fits each picture.

        Args:
            pictures: [n, d].
            texts: [m, d]: texts or labels.

        Returns:
            [n, m] in 0..1. At or above THRESHOLD the text fits.

        Raises:
            FingerprintMismatch: another encoder made them.
        """
        self.texts.require(texts.fingerprint)
        return self.match_cosines(pictures @ texts)

    def match_cosines(self, cosines: NDArray[np.float32], terms: Terms = ((1.0, "text"),)) -> NDArray[np.float32]:
        """`match` of cosines between pictures and queries, of any shape.

        Args:
            cosines: of pictures and queries.
            terms: what the queries are made of: one text, or a weight and a kind for each term of an arithmetic.
        """
        rare, spread = self._unrelated(terms)
        deviations = (np.asarray(cosines, np.float32) - rare) / spread
        logistic: NDArray[np.float32] = np.float32(0.5) * (1 + np.tanh(np.float32(SLOPE / 2) * deviations))
        return logistic

    def _unrelated(self, terms: Terms) -> tuple[np.float32, np.float32]:
        """What a share RARE of unrelated pairs reaches, and their standard deviation.

        The queries are the same arithmetic of everyday things: of each by itself, or of random ones together.
        """
        if terms not in self._known:
            random = np.random.default_rng(0)
            count = len(self._of(terms[0][1])) if len(terms) == 1 else DRAWS
            queries = np.zeros((count, self.texts.vectors.shape[1]), np.float32)
            used = np.zeros((count, len(self.pictures)), bool)  # a picture is not unrelated to a query it is part of
            for weight, kind in terms:
                source = self._of(kind)
                rows = np.arange(count) if len(terms) == 1 else random.integers(0, len(source), count)
                queries += np.float32(weight) * source[rows]
                if kind == "picture":
                    used[np.arange(count), rows] = True
            cosines = (self.pictures @ Embeddings(unit(queries), self.pictures.fingerprint)).T[~used]
            spread = max(cosines.std(), np.float32(1e-6))
            self._known[terms] = np.float32(np.quantile(cosines, 1 - RARE)), spread
        return self._known[terms]

    def _of(self, kind: Kind) -> NDArray[np.float32]:
        return self.texts.vectors if kind == "text" else self.pictures.vectors


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


def _encode(encoder: Encoder) -> NDArray[np.float16]:
    texts = everyday_texts()
    readable = texts if encoder.reads(texts) else texts[::2]
    parts = (encoder.encode_text(readable).vectors, encoder.encode_image(everyday_pictures()).vectors)
    return np.concatenate(parts).astype(np.float16)


def _file_name(encoder: Encoder) -> str:
    digest = hashlib.sha256("\n".join(everyday_texts()).encode() + SHEET.read_bytes()).hexdigest()[:8]
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
    content = io.BytesIO()
    np.save(content, vectors)
    with contextlib.suppress(OSError):  # it is a cache
        write_whole(path, content.getvalue())
