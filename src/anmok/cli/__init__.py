"""The command line: `anmok classify | search | index | embed | evaluate | clean | train | models | doctor | …`.

Thin on purpose: parse, call a room, print. Data goes to stdout, everything else to stderr.
Exit status 0: all done; 1: some items failed, the others are done; 2: usage, or nothing could be done.
"""

from __future__ import annotations

import sys
import warnings

__all__ = ["main"]


def main() -> None:
    """Run the command line. Known errors are one line on stderr, without a traceback."""
    from anmok.cli.app import app
    from anmok.cli.output import Failed, say
    from anmok.errors import AnmokError

    _speak_utf8()
    warnings.showwarning = lambda message, *_: say(f"anmok: {message}")
    try:
        app(prog_name="anmok")
    except Failed:
        sys.exit(1)
    except AnmokError as error:
        say(f"anmok: {error}")
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output (head, less) is gone
        sys.stderr.close()
        sys.exit(0)


def _speak_utf8() -> None:
    """Korean labels and names must print even where the terminal's encoding is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
