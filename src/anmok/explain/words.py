"""Which words of a text the score comes from: each word left out in turn.

Source: Understanding Neural Networks through Representation Erasure (Li, Monroe and Jurafsky 2016, arXiv 1612.08220).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.errors import TextError

if TYPE_CHECKING:
    from anmok.encoder import Encoder
    from anmok.explain.question import Target

__all__ = ["explain_text"]


def explain_text(encoder: Encoder, picture: Target, text: str) -> list[tuple[str, float]]:
    """How much each word adds to the cosine of picture and text.

    Words are what stands between spaces; in Korean an 어절, a word with its particles. The numbers do not sum to the
    score: a text without one of its words is another text.

    Args:
        encoder: any.
        picture: path, bytes, PIL picture or uint8 array [h, w, 3].
        text: of any length; words beyond what the model reads add nothing.

    Returns:
        Each word, in order, and by how much the cosine falls without it; below 0 where it rises.

    Raises:
        TextError: the text is empty.
        PictureError: the picture cannot be used.
    """
    words = text.split()
    if not words:
        raise TextError("an empty text has no words to explain")
    without = [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    seen = encoder.encode_image(picture)
    scores = (encoder.encode_text([" ".join(words), *without]) @ seen)[:, 0]
    return [(word, float(scores[0] - score)) for word, score in zip(words, scores[1:], strict=True)]
