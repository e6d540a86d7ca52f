"""How a checkpoint's towers run on this machine: engine, precision, and how near that is to float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from anmok.doctor.finding import Finding
from anmok.runtime import Choice, choose, known_choice
from anmok.settings import settings

if TYPE_CHECKING:
    from anmok.checkpoints import Checkpoint

__all__ = ["examine_engines"]

TOWERS: dict[Literal["image", "text"], str] = {"image": "picture tower", "text": "text tower"}


def examine_engines(checkpoint: Checkpoint, *, measure: bool = False) -> list[Finding]:
    """What was chosen for each tower, with its certificate, what it gains and what was refused.

    Args:
        checkpoint: whose towers.
        measure: measure now (a minute or so) instead of telling what was measured before.
    """
    findings = []
    threads = settings().threads
    for tower, name in TOWERS.items():
        choice = (
            choose(checkpoint, tower, threads)
            if measure and checkpoint.exports is None
            else known_choice(checkpoint, tower, threads)
        )
        findings += _told(name, choice)
    return findings


def _told(name: str, choice: Choice | None) -> list[Finding]:
    if choice is None:
        later = "others are measured after a while of work, or now by anmok doctor --measure"
        return [Finding(name, "ok", f"{Choice().way}; {later}")]
    speeds = sorted(choice.speeds.items(), key=lambda item: -item[1])
    told = ", ".join(f"{way} {speed:.2f}" for way, speed in speeds)
    certificate = f"; {choice.certificate}" if choice.certificate else ""
    return [
        Finding(name, "ok", f"{choice.way}{certificate}"),
        Finding(f"{name}, times as fast as {Choice().way}", "ok", told),
        *(Finding(f"{name}, refused", "ok", f"{way}: {reason}") for way, reason in choice.refused.items()),
    ]
