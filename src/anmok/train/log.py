"""What a run tells: one JSON object a line in `log.jsonl`, the same numbers for TensorBoard, and to whoever listens."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Log"]

Listener = "Callable[[dict[str, Any]], None]"


class Log:
    """Writes records; each has a `step` and a `kind` ("train", "evaluate", "skipped", "start", "end")."""

    def __init__(self, folder: Path, listener: Callable[[dict[str, Any]], None] | None = None) -> None:
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), write_to_disk=True)
        self._listener = listener

    def write(self, kind: str, step: int, **values: Any) -> None:
        """One record: on disk at once, and to the listener. Numbers also go to TensorBoard."""
        record = {"kind": kind, "step": step, **values}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._board.add_scalar(f"{kind}/{name}", value, step, walltime=time.time())
        if self._listener is not None:
            self._listener(record)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()
