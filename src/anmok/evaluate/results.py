"""What an evaluation found, as one table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Evaluation", "Result"]


@dataclass(frozen=True)
class Result:
    """One number.

    `name`: the data ("clothing"); `language`: of the texts ("en", "ko"), or "" where there is none.
    `metric`: "accuracy@1", "text to picture recall@10", …; `value`: 0..1.
    `n`: cases it was measured on; `chance`: what guessing reaches.
    `low`, `high`: 95% confidence interval (Wilson; Hanley and McNeil for AUROC).
    `details`: whatever explains the number, such as the count of classes.
    """

    name: str
    metric: str
    value: float
    n: int
    chance: float
    low: float
    high: float
    language: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Every result of one encoder, and the pictures that could not be used."""

    encoder: str
    fingerprint: str
    results: tuple[Result, ...]
    failed: tuple[tuple[str, str], ...] = ()  # picture, reason

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __add__(self, other: Evaluation) -> Evaluation:
        """More results of the same encoder; a picture that failed in both is listed once."""
        failed = tuple(dict.fromkeys(self.failed + other.failed))
        return Evaluation(self.encoder, self.fingerprint, self.results + other.results, failed)

    def get(self, name: str, metric: str, language: str = "") -> Result:
        """The one result of that name, metric and language.

        Raises:
            KeyError: there is none.
        """
        for result in self.results:
            if (result.name, result.metric, result.language) == (name, metric, language):
                return result
        raise KeyError((name, metric, language))

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per result."""
        return [asdict(result) for result in self.results]

    def json_lines(self) -> Iterator[str]:
        """One JSON object per result, then one per failed picture."""
        for row in self.rows():
            yield json.dumps({"encoder": self.encoder, "fingerprint": self.fingerprint, **row}, ensure_ascii=False)
        for picture, error in self.failed:
            yield json.dumps({"picture": picture, "error": error}, ensure_ascii=False)

    def markdown(self) -> str:
        """A table for a document; values in percent."""
        lines = [
            "| data | language | metric | value | 95% | chance | n |",
            "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        ]
        for item in self.results:
            interval = f"{100 * item.low:.1f}–{100 * item.high:.1f}"
            lines.append(
                f"| {item.name} | {item.language} | {item.metric} | {100 * item.value:.1f} | {interval} "
                f"| {100 * item.chance:.1f} | {item.n} |"
            )
        return "\n".join(lines)
