"""What is asked of a picture, as a direction in the shared space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.errors import TextError
from anmok.scores import background

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from anmok.encoder import Encoder

    Target = str | Path | bytes | Image.Image | NDArray[np.uint8]

__all__ = ["Question", "ask"]


@dataclass(frozen=True, eq=False)
class Question:
    """How well an embedding `x` fits is `x · target`, less `x · against` where there is such a thing.

    `target`, `against`: unit vectors [d].
    `toward`: [d], what heat maps explain. Texts have much in common, whatever they say, and so have pictures; so
        without `against`, the mean of everyday texts (or pictures) is taken off. It changes the score of every place
        by what an unrelated text would get there.
    """

    target: NDArray[np.float32]
    against: NDArray[np.float32] | None
    toward: NDArray[np.float32]

    def score(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, d] → [n]."""
        scores: NDArray[np.float32] = vectors @ self.target
        return scores if self.against is None else scores - vectors @ self.against


def ask(encoder: Encoder, target: Target, against: Target | None = None) -> Question:
    """Encode a target and what it is compared with.

    Raises:
        TextError: a text is empty.
        PictureError: a picture cannot be used.
    """
    this = _encode(encoder, target)
    if against is not None:
        other = _encode(encoder, against)
        return Question(this, other, this - other)
    everyday = background(encoder)
    usual = (everyday.texts if isinstance(target, str) else everyday.pictures).vectors.mean(axis=0)
    return Question(this, None, this - usual)


def _encode(encoder: Encoder, target: Target) -> NDArray[np.float32]:
    if not isinstance(target, str):
        picture: NDArray[np.float32] = encoder.encode_image(target).vectors[0]
        return picture
    if not target.strip():
        raise TextError("an empty text explains nothing: say what to look for")
    text: NDArray[np.float32] = encoder.encode_text(target).vectors[0]
    return text
