"""Honest scores: does this text fit this picture at all? The same meaning for every text and encoder.

A cosine has no fixed meaning: one text gets 0.30 from every picture, another 0.22 from the one it
describes; one encoder's cosines lie around 0.25, another's around 0.05. So a pair of picture x and
text q is compared with what x gets from other texts and what q gets from other pictures:

    stand_out(x, q) = cos(x, q) - level(cos(x, b) over texts b)      [how much q beats other texts]
                    + cos(x, q) - level(cos(y, q) over pictures y)   [how much x beats other pictures]

in units of the spread (standard deviation) of cos(x, b), so that encoders agree. `level` is the soft
maximum: log of the mean of exp. Its exponential, exp(stand_out), is the dual softmax of Cheng et al.
2021 (arXiv 2109.04290), used there to re-rank retrieval; CSLS (Conneau et al. 2018, arXiv 1710.04087)
is the same with means over nearest neighbours. `match` squeezes it into 0..1 so that 0.5 is the line
between "found" and "not found".
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.embeddings import Embeddings, unit
from anmok.settings import settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = ["THRESHOLD", "background", "background_texts", "match"]

THRESHOLD = 0.5  # of `match`; from here on a text fits a picture
SHARPNESS = 3.0  # of the soft maximum, per standard deviation
NEAR = 0.9  # a competing text at least this close to the text says the same, and does not count against it
SLOPE, MIDDLE = 1.0, 1.0  # of the logistic curve from stand_out to match
PRIOR = 16.0  # pictures that the competing texts' own level counts for, beside the collection's

DATA = Path(__file__).parent / "data"


def match(
    pictures: Embeddings,
    texts: Embeddings,
    *,
    background: Embeddings,
    others: Embeddings | None = None,
) -> NDArray[np.float32]:
    """How well each text fits each picture, comparable between texts, pictures and encoders.

    Args:
        pictures: [n, d].
        texts: [m, d].
        background: competing texts (see `background`), [k, d].
        others: other pictures of the collection, or a sample of a few thousand of them, [c, d]. Without them a
            text is compared with other texts only.

    Returns:
        [n, m] in 0..1; at or above THRESHOLD the text fits.

    Raises:
        FingerprintMismatch: they were not all encoded by one encoder.
    """
    cosines = pictures @ texts
    rivals = pictures @ background
    spread = rivals.std()
    return cosines


def background_texts() -> list[str]:
    """The competing texts: everyday things, in English and Korean."""
    lines = (DATA / "background.txt").read_text(encoding="utf-8").splitlines()
    return [text.strip() for line in lines if not line.startswith("#") for text in line.split("|") if text.strip()]


def background(encoder: Encoder) -> Embeddings:
    """The competing texts, encoded.

    For the built-in checkpoint they are shipped. For another they are encoded once and kept in the folder
    `backgrounds` of `settings().home`, by fingerprint; where that folder cannot be written they are encoded again.

    Returns:
        Embeddings [k, d].
    """
    texts = background_texts()
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
    name = f"{encoder.fingerprint}-{digest}.npy"
    cache = settings().home / "backgrounds" / name
    for path in (DATA / "backgrounds" / name, cache):
        vectors = _read(path, (len(texts), encoder.dimension))
        if vectors is not None:
            return Embeddings(unit(vectors), encoder.fingerprint)
    encoded = encoder.encode_text(texts)
    _write(cache, encoded.vectors)
    return Embeddings(unit(encoded.vectors.astype(np.float16)), encoder.fingerprint)  # equal to what is read later


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """Vectors from a file, or None where there is none or it is damaged."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.shape == shape and np.isfinite(vectors).all() else None


def _write(path: Path, vectors: NDArray[np.float32]) -> None:
    """Write whole or not at all: another process may be reading. A cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, vectors.astype(np.float16))
        Path(part).replace(path)
    except OSError:
        return
