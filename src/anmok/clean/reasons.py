"""Why a pair, or one of its texts, is dropped: every reason there is, under the name that lists and settings use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["REASONS", "Reason", "in_order"]


@dataclass(frozen=True)
class Reason:
    """What people read: the reason in English and Korean, and what is behind it."""

    english: str
    korean: str
    explanation: str


REASONS: dict[str, Reason] = {
    "unreadable": Reason("Unreadable picture", "읽을 수 없는 사진", "The file is damaged, or not a picture."),
    "damaged text": Reason("Damaged text", "깨진 글", "Letters that a wrong encoding has made, or half letters."),
    "short text": Reason("Text too short", "너무 짧은 글", "Fewer letters or words than asked for."),
    "boilerplate text": Reason(
        "Text that says nothing", "뜻 없는 글", "A file name, an address, a date, or words such as “image” and “사진”."
    ),
    "repeated text": Reason(
        "Text repeated over too many pictures", "너무 많은 사진에 되풀이된 글", "The same text stands beside others."
    ),
    "mismatch": Reason(
        "Text and picture do not match", "글과 사진이 맞지 않음", "By the score of the model; it can be wrong."
    ),
    "low resolution": Reason("Low resolution", "낮은 해상도", "The shorter side has too few pixels."),
    "extreme shape": Reason("Extreme shape", "지나치게 긴 사진", "One side is much longer than the other."),
    "blank": Reason("Blank", "빈 사진", "Hardly anything but one color."),
    "too dark": Reason("Too dark", "너무 어두움", "Nearly every pixel is close to black."),
    "too bright": Reason("Too bright", "너무 밝음", "Nearly every pixel is close to white."),
    "blurred": Reason("Blurred", "흐린 사진", "No edge is sharp."),
    "held out": Reason(
        "Also in the held-out set", "평가용 사진과 겹침", "It shows a picture that is kept for evaluation."
    ),
    "same file": Reason("Same file", "같은 파일", "Every byte is equal."),
    "same pixels": Reason("Same pixels", "같은 화소", "Another file, every pixel equal."),
    "near duplicate": Reason(
        "Near duplicate", "거의 같은 사진", "The same picture resized, recompressed, slightly cropped, or mirrored."
    ),
}


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of `REASONS`; kinds that a source has of its own come last."""
    given = set(names)
    return [*(name for name in REASONS if name in given), *sorted(given.difference(REASONS))]
