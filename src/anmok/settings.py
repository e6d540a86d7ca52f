"""Settings from the environment: every `ANMOK_*` variable, what it means and its default.

Nothing is read at import. `settings()` reads the environment when it is asked, so that a
test or a service can change a variable and see it at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from anmok.errors import SettingsError, did_you_mean

__all__ = ["PRECISIONS", "Settings", "settings"]

KNOWN = ("ANMOK_HOME", "ANMOK_THREADS", "ANMOK_PRECISION", "ANMOK_MAX_PIXELS", "ANMOK_PROGRESS")
PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    `home`: where converted models are cached (rebuildable; safe to delete).
    `threads`: processor threads to use; 0 means as many as the machine has.
    `precision`: of encoders that are loaded without one: "auto" (the fastest that stays near enough to fp32 on this
    machine), "fp32" (exact, and the same everywhere), "bf16" or "int8".
    `max_pixels`: a picture with more pixels than this is refused before it is decoded.
    `progress`: whether long work draws a progress line on a terminal.
    """

    home: Path
    threads: int
    precision: str
    max_pixels: int
    progress: bool


def settings() -> Settings:
    """Read the `ANMOK_*` variables.

    Raises:
        SettingsError: a variable has a bad value, or a name starting with `ANMOK_` is unknown
            (a misspelled setting would otherwise be ignored in silence).
    """
    problems = [
        f"{name} is not a setting.{did_you_mean(name, KNOWN)}"
        for name in os.environ
        if name.startswith("ANMOK_") and name not in KNOWN
    ]
    threads = _whole_number("ANMOK_THREADS", 0, problems)
    max_pixels = _whole_number("ANMOK_MAX_PIXELS", 100_000_000, problems)
    precision = os.environ.get("ANMOK_PRECISION", "auto")
    if precision not in ("auto", *PRECISIONS):
        problems.append(f"ANMOK_PRECISION is {precision!r}, expected one of auto, {', '.join(PRECISIONS)}")
    progress = os.environ.get("ANMOK_PROGRESS", "1")
    if progress not in ("0", "1"):
        problems.append(f"ANMOK_PROGRESS is {progress!r}, expected 0 or 1")
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(home=_home(), threads=threads, precision=precision, max_pixels=max_pixels, progress=progress == "1")


def _home() -> Path:
    given = os.environ.get("ANMOK_HOME")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(cache) if cache else Path.home() / ".cache") / "anmok"


def _whole_number(name: str, default: int, problems: list[str]) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        problems.append(f"{name} is {text!r}, expected a whole number")
        return default
    return int(text)
