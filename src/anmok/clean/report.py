"""What became of the pairs: counts, lists, and a few examples of everything that was dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from anmok.clean.reasons import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from anmok.clean.measure import Measured
    from anmok.pairs import Problem

__all__ = ["CleanReport", "Removed", "Twin", "examples_of", "removed"]


@dataclass(frozen=True)
class Twin:
    """The picture that stays in place of a dropped one: of the source, or a held-out one."""

    name: str
    number: int  # in its source
    held_out: bool = False


@dataclass(frozen=True)
class Removed:
    """A pair that is dropped, or (not `whole`) a text of a pair that stays. `text` is the one that was the reason."""

    name: str
    number: int  # of the pair in the source
    reason: str
    detail: str
    whole: bool = True
    text: str | None = None
    twin: Twin | None = None

    def to_dict(self) -> dict[str, Any]:
        """One line of `removed.jsonl`."""
        what = "pair" if self.whole else "text"
        record = {"dropped": what, "name": self.name, "reason": self.reason, "detail": self.detail}
        if self.text is not None:
            record["text"] = self.text
        if self.twin is not None:
            record["held_out" if self.twin.held_out else "kept"] = self.twin.name
        return record


@dataclass(frozen=True)
class CleanReport:
    """What `anmok.clean.clean` did.

    `pairs`, `kept`: how many there were, and how many are left.
    `dropped`: reason → pairs; the reasons are those of `anmok.clean.REASONS`, and kinds of `anmok.pairs.PairError`.
    `texts_dropped`: reason → texts of pairs that are kept.
    `held_out`: how many held-out pictures there were; `not_compared`: those that could not be read, and why.
    `problems`: what of the source's files could not be used.
    `repeated`: the texts that stand beside most pictures, and beside how many.
    `examples`: reason → a few of what was dropped.
    `shards`: what was written.
    """

    pairs: int
    kept: int
    dropped: Mapping[str, int]
    texts_dropped: Mapping[str, int]
    held_out: int = 0
    not_compared: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()
    repeated: tuple[tuple[str, int], ...] = ()
    examples: Mapping[str, tuple[Removed, ...]] = field(default_factory=dict, repr=False)
    shards: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The counts, as in `summary.json`."""
        return {
            "pairs": self.pairs,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "texts_dropped": dict(self.texts_dropped),
            "held_out": self.held_out,
            "not_compared": [{"name": name, "reason": reason} for name, reason in self.not_compared],
            "problems": [asdict(problem) for problem in self.problems],
            "repeated": [{"text": text, "pictures": count} for text, count in self.repeated],
            "shards": [shard.name for shard in self.shards],
        }


def removed(measured: Measured, twins: Mapping[int, Twin]) -> Iterator[Removed]:
    """Everything that is dropped, in the order of the source: pairs, and texts of pairs that stay."""
    held = measured.held_out
    for row in sorted(measured.dropped.keys() | measured.texts.keys()):
        if row < held:
            continue
        name, texts = measured.names[row], measured.texts.get(row, {})
        if row in measured.dropped:
            reason, detail = measured.dropped[row]
            text = next((text for text, verdict in texts.items() if verdict == (reason, detail)), None)
            yield Removed(name, row - held, reason, detail, text=text, twin=twins.get(row))
        else:
            yield from (Removed(name, row - held, *verdict, whole=False, text=text) for text, verdict in texts.items())


def examples_of(measured: Measured, twins: Mapping[int, Twin], count: int) -> dict[str, tuple[Removed, ...]]:
    """Up to `count` of what is dropped for each reason, from everywhere in the source."""
    totals = Counter(one.reason for one in removed(measured, twins))
    chosen = {reason: {k * total // count for k in range(count)} for reason, total in totals.items() if count}
    seen: Counter[str] = Counter()
    found: dict[str, list[Removed]] = {}
    for one in removed(measured, twins):
        if seen[one.reason] in chosen.get(one.reason, ()):
            found.setdefault(one.reason, []).append(one)
        seen[one.reason] += 1
    return {reason: tuple(found[reason]) for reason in in_order(found)}
