"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what was seen.

    `status`: "ok"; "missing" for something optional that is not there (`detail` says how to get
    it); "wrong" for something that would give wrong results in silence.
    """

    name: str
    status: Literal["ok", "missing", "wrong"]
    detail: str
