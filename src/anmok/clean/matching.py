"""Does a text fit its picture, by an encoder? And which pairs fit worst.

A score across pictures and texts needs one meaning: `match` of `anmok.scores` has it (0.5 is what one unrelated pair
in a hundred reaches, for any encoder). Worst pairs are found by the cosine itself, whose order is the same and which
still tells very low matches apart.

Source: Gadre et al. 2023, "DataComp", arXiv 2304.14108 (filtering by CLIP score, by threshold or by share).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.scores import background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder

__all__ = ["TextMatcher", "lowest"]


class TextMatcher:
    """Compares pictures with their own texts."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._background = background(encoder)

    def cosines(self, pictures: Embeddings, texts: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """Cosine of each picture with each of its texts; NaN where the encoder cannot read the text.

        Args:
            pictures: [n, d].
            texts: of each picture, n lists.

        Returns:
            n arrays, float32, one number for each text.
        """
        distinct = [text for text in dict.fromkeys(text for own in texts for text in own) if self._reads(text)]
        row_of = {text: row for row, text in enumerate(distinct)}
        vectors = self._encoder.encode_text(distinct).vectors if distinct else np.empty((0, 1), np.float32)
        return [
            np.array([vector @ vectors[row_of[text]] if text in row_of else np.nan for text in own], np.float32)
            for vector, own in zip(pictures.vectors, texts, strict=True)
        ]

    def match(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """`anmok.scores` of cosines between pictures and texts, 0..1."""
        return self._background.match_cosines(cosines)

    def _reads(self, text: str) -> bool:
        return text.isascii() or self._encoder.reads([text])


def lowest(cosines: NDArray[np.float32], share: float) -> NDArray[np.int64]:
    """Places of the `share` of pairs that fit worst, in order; NaN, not judged, is never among them.

    Args:
        cosines: [n], of each pair's best text.
        share: 0..1, of those that were judged, rounded down.
    """
    judged = np.flatnonzero(~np.isnan(cosines))
    worst = np.argsort(cosines[judged], kind="stable")[: int(share * len(judged))]
    return np.sort(judged[worst])
