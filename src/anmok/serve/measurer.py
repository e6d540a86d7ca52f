"""The process that measures how a tower runs best.

Started as `python -m anmok.serve.measurer SOURCE TOWER`. What it finds out is kept where `anmok.runtime` looks for it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from anmok.checkpoints import load_checkpoint
from anmok.runtime import choose, known_choice
from anmok.settings import settings

if TYPE_CHECKING:
    from anmok.runtime.trial import Tower

NICE = 5  # lists, thumbnails and the page go first; too nice, and the times would be of what else is going on


def measure(source: str, tower: Tower) -> None:
    """Measure a tower of a checkpoint, unless what comes of it is known."""
    checkpoint = load_checkpoint(source, offline=True)
    threads = settings().threads
    if known_choice(checkpoint, tower, threads) is None:
        choose(checkpoint, tower, threads)


def main() -> None:
    """Measure what the command line says."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICE)
    measure(sys.argv[1], "image" if sys.argv[2] == "image" else "text")


if __name__ == "__main__":
    main()
