"""What to drop: every threshold in one place, with its default and why it is that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from anmok.clean.reasons import REASONS
from anmok.errors import SettingsError, did_you_mean

__all__ = ["CleanSettings"]


@dataclass(frozen=True)
class CleanSettings:
    """Thresholds of `anmok.clean.clean`. The defaults are made to lose nothing that is of use.

    `min_side`: shorter side, pixels. DataComp's basic filter asks 200 (Gadre et al. 2023, arXiv 2304.14108), which
        a small data set can seldom afford; icons and buttons of web pages have up to 48.
    `max_aspect`: longer side over shorter side; 3 as in DataComp.
    `min_contrast`: gray levels of 0..255 between the darkest and the brightest hundredth of a picture, in the color
        channel where it is widest; below, it is blank.
    `max_dark`, `min_bright`: a picture is too dark where 99% of its pixels are below the first, too bright where 99%
        are above the second, gray levels.
    `min_sharpness`: see `anmok.clean.quality`; what is in focus has 1.1 to 1.8.
    `min_letters`: of a text. A syllable of Hangul, a Han or a Kana letter counts as two, so 귤 and 배 are words.
    `min_words`: of a text; in Korean and other scripts of syllables two of them count as a word.
    `max_repeats`: share of all pictures, 0..1, that one text may stand beside. 1 asks nothing: class names repeat
        by nature. Texts on fewer than ten pictures are left alone.
    `min_match`: `anmok.scores` between picture and text, 0..1; a text below is dropped. 0 asks nothing.
    `drop_lowest`: share of pairs, 0..1, whose best text fits worst, to drop. 0 drops none.
    `near_distance`: bits of 64 in which the perceptual hashes of near duplicates may differ; with an encoder, its
        nearest neighbours are looked at as well.
    `near_cosine`: from which a nearest neighbour is looked at.
    `near_similarity`: correlation of the pictures, -1..1, from which they are near duplicates.
    `mirrored`: whether a mirrored copy is a near duplicate.
    `unite_texts`: whether the kept one of exact duplicates also takes the texts of the others.
    `keep`: reasons (`anmok.clean.REASONS`) for which nothing is dropped.
    `examples`: how many examples of each reason the report holds.
    `shard_bytes`: size of the cleaned shards.

    Raises:
        SettingsError: values that make no sense; all of them in one message.
    """

    min_side: int = 64
    max_aspect: float = 3.0
    min_contrast: float = 12.0
    max_dark: float = 32.0
    min_bright: float = 235.0
    min_sharpness: float = 0.7
    min_letters: int = 2
    min_words: int = 1
    max_repeats: float = 1.0
    min_match: float = 0.0
    drop_lowest: float = 0.0
    near_distance: int = 8
    near_cosine: float = 0.95
    near_similarity: float = 0.94
    mirrored: bool = True
    unite_texts: bool = False
    keep: frozenset[str] = frozenset()
    examples: int = 10
    shard_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected {low:g} to {high:g}"
            for name, (low, high) in RANGES.items()
            if not low <= getattr(self, name) <= high
        ]
        problems += [
            f"keep: {name!r} is not a reason.{did_you_mean(name, REASONS)} Reasons: {', '.join(REASONS)}"
            for name in sorted(self.keep.difference(REASONS))
        ]
        if "unreadable" in self.keep:
            problems.append("keep: a picture that cannot be read cannot be kept")
        if problems:
            raise SettingsError("; ".join(problems))

    @property
    def judges_match(self) -> bool:
        """Whether texts are compared with pictures, which needs an encoder."""
        return self.min_match > 0 or self.drop_lowest > 0

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, in a fixed order."""
        return {**dataclasses.asdict(self), "keep": sorted(self.keep)}


RANGES: dict[str, tuple[float, float]] = {
    "min_side": (1, 1 << 20),
    "max_aspect": (1, float("inf")),
    "min_contrast": (0, 255),
    "max_dark": (0, 255),
    "min_bright": (0, 255),
    "min_sharpness": (0, 4),
    "min_letters": (0, 1 << 20),
    "min_words": (0, 1 << 20),
    "max_repeats": (0, 1),
    "min_match": (0, 1),
    "drop_lowest": (0, 1),
    "near_distance": (0, 24),
    "near_cosine": (0, 1),
    "near_similarity": (0, 1),
    "examples": (0, 10_000),
    "shard_bytes": (1 << 10, 1 << 50),
}
