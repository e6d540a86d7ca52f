"""Honest scores: does this text fit this picture at all? The same meaning for every text, picture and encoder.

A cosine has no fixed meaning. One text is near every picture, one picture near every text; the cosines of
one encoder lie around 0.05, those of another around 0.25. So each pair of picture x and text q is compared
with a fixed background of everyday texts B and everyday pictures A, which ship with anmok:

    level(x) = soft maximum of cos(x, b) over b in B            how near x is to any text at all
    level(q) = soft maximum of cos(a, q) over a in A            how near q is to any picture at all
    stand_out(x, q) = cos(x, q) - TEXT_SHARE * level(x) - PICTURE_SHARE * level(q)

`match` is a logistic curve of stand_out, in standard deviations of what the unrelated pairs (a, b) reach. It
depends on nothing but picture, text and encoder: not on the collection, the other labels or the batch.

With both shares ½ and the collection in place of A, exp(stand_out) is the dual softmax of Cheng et al. 2021
(arXiv 2109.04290); with means instead of soft maxima it is the distribution normalization of Zhou et al. 2023
(arXiv 2302.11084). `anmok evaluate scores` measures all of them. A collection's own pictures do not serve as A:
they take away what tells a query for something that is not there, since some picture is always the nearest.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.embeddings import Embeddings, unit
from anmok.settings import settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = ["THRESHOLD", "Background", "Weighed", "background", "background_pictures", "background_texts"]

THRESHOLD = 0.5  # of `match`: from here on a text fits a picture
TEXT_SHARE, PICTURE_SHARE = 0.25, 0.5
SHARPNESS = 6.0  # of the soft maximum, per standard deviation of unrelated pairs
NEAR = 0.9  # a background text with at least this cosine to the text says the same, and does not count against it
MIDDLE, SLOPE = 2.0, 2.0  # of the logistic curve, in standard deviations and per standard deviation

DATA = Path(__file__).parent / "data"
ROWS = 4096  # texts weighed at a time
TILE = 96  # pixels; background.webp is a sheet of such squares, background.csv says where each is from


@dataclass(frozen=True, eq=False)
class Weighed:
    """Texts with what of their scores does not depend on the picture (see `Background.weigh`).

    `texts`: [m, d]. `level`: of each text, [m]. `near`: numbers of the texts that say the same as some background
    text, [r]. `counted`: which background texts still count for those, [r, k].
    """

    texts: Embeddings
    level: NDArray[np.float32]
    near: NDArray[np.int64]
    counted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Background:
    """Everyday texts [k, d] and pictures [c, d], as one encoder sees them."""

    texts: Embeddings
    pictures: Embeddings

    def match(self, pictures: Embeddings, texts: Embeddings | Weighed) -> NDArray[np.float32]:
        """How well each text fits each picture.

        Args:
            pictures: [n, d].
            texts: [m, d]: texts, labels, or pictures that are searched with. Weigh them once where they are
                matched with pictures again and again.

        Returns:
            [n, m] in 0..1. At or above THRESHOLD the text fits.

        Raises:
            FingerprintMismatch: another encoder made them.
        """
        middle, spread = self._unrelated
        weighed = texts if isinstance(texts, Weighed) else self.weigh(texts)
        deviations = (self._stand_out(pictures, weighed) - middle) / spread
        logistic: NDArray[np.float32] = 0.5 * (1 + np.tanh(SLOPE * (deviations - MIDDLE) / 2))
        return logistic

    def weigh(self, texts: Embeddings) -> Weighed:
        """The part of the work that is the same for every picture."""
        levels, near, counted = (
            [np.empty(0, np.float32)],
            [np.empty(0, np.int64)],
            [np.empty((0, len(self.texts)), bool)],
        )
        for start in range(0, len(texts), ROWS):
            part = texts[start : start + ROWS]
            levels.append(self._soft_maximum(part @ self.pictures)[:, 0])
            same = part @ self.texts >= NEAR
            rows = np.flatnonzero(same.any(axis=1) & ~same.all(axis=1))
            near.append(rows + start)
            counted.append(~same[rows])
        return Weighed(texts, np.concatenate(levels), np.concatenate(near), np.concatenate(counted))

    def _stand_out(self, pictures: Embeddings, weighed: Weighed) -> NDArray[np.float32]:
        rivals = pictures @ self.texts
        stand_out = pictures @ weighed.texts
        stand_out -= PICTURE_SHARE * weighed.level
        level = np.repeat(self._soft_maximum(rivals), stand_out.shape[1], axis=1)
        level[:, weighed.near] = self._soft_maximum(rivals, weighed.counted)
        stand_out -= TEXT_SHARE * level
        return stand_out

    def _soft_maximum(
        self, cosines: NDArray[np.float32], counted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Log of the mean of exp over the k columns of [n, k]: [n, 1]; or over those that `counted` [r, k] marks: [n, r]."""
        sharpness = SHARPNESS / self._spread
        highest = cosines.max(axis=1, keepdims=True)
        powers = np.exp(sharpness * (cosines - highest))
        if counted is None:
            mean = powers.mean(axis=1, keepdims=True)
        else:
            mean = powers @ counted.T.astype(np.float32) / counted.sum(axis=1, dtype=np.float32)
        level: NDArray[np.float32] = highest + np.log(np.maximum(mean, np.float32(1e-30))) / sharpness
        return level

    @cached_property
    def _spread(self) -> np.float32:
        """Standard deviation of the cosines of unrelated pairs."""
        return np.maximum((self.pictures @ self.texts).std(), np.float32(1e-6))

    @cached_property
    def _unrelated(self) -> tuple[np.float32, np.float32]:
        """Mean and standard deviation of stand_out over unrelated pairs."""
        stand_out = self._stand_out(self.pictures, self.weigh(self.texts))
        return stand_out.mean(), np.maximum(stand_out.std(), np.float32(1e-6))


def background(encoder: Encoder) -> Background:
    """The background, encoded.

    For the built-in checkpoint it is shipped. For another it is encoded once and kept in the folder
    `backgrounds` of `settings().home`, by fingerprint; where that folder cannot be written it is encoded again.
    """
    texts = background_texts()
    digest = hashlib.sha256("\n".join(texts).encode() + _SHEET.read_bytes()).hexdigest()[:8]
    name = f"{encoder.fingerprint}-{digest}.npy"
    cache = settings().home / "backgrounds" / name
    for path in (DATA / "backgrounds" / name, cache):
        vectors = _read(path, encoder.dimension)
        if vectors is not None:
            break
    else:
        parts = (encoder.encode_text(texts).vectors, encoder.encode_image(background_pictures()).vectors)
        vectors = np.concatenate(parts).astype(np.float16)
        _write(cache, vectors)
    rows = Embeddings(unit(vectors), encoder.fingerprint)
    return Background(rows[: len(texts)], rows[len(texts) :])


def background_texts() -> list[str]:
    """The everyday texts, English and Korean in turn."""
    lines = (DATA / "background.txt").read_text(encoding="utf-8").splitlines()
    return [text.strip() for line in lines if not line.startswith("#") for text in line.split("|") if text.strip()]


def background_pictures() -> list[NDArray[np.uint8]]:
    """The everyday pictures, uint8 [96, 96, 3] each."""
    from PIL import Image

    with Image.open(_SHEET) as image:
        sheet = np.asarray(image.convert("RGB"))
    tops, lefts = (range(0, side, TILE) for side in sheet.shape[:2])
    return [sheet[top : top + TILE, left : left + TILE] for top in tops for left in lefts]


_SHEET = DATA / "background.webp"


def _read(path: Path, dimension: int) -> NDArray[np.float16] | None:
    """Vectors from a file, or None where there is none or it is damaged."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = vectors.ndim == 2 and vectors.shape[1] == dimension and np.isfinite(vectors).all()
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
