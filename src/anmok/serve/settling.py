"""Towers that have worked for a while are measured in a quiet moment, and go on as fast as is near enough to float32.

A process of its own measures (see `measurer`), for tens of seconds. Whoever uses a model meanwhile ends it: nobody
waits, and times that were taken beside other work would be wrong for good. What comes of it is kept on the disk for
this machine, as `anmok doctor --measure` keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anmok.serve.models import Model

__all__ = ["TOWERS", "Settling"]

log = logging.getLogger("anmok.serve")

TOWERS: tuple[Literal["image", "text"], ...] = ("image", "text")
LOOK_S = 1.0  # between two looks whether there is something to measure
QUIET_S = 2.0  # since a model was last used; twice as long after each measurement that was ended
LONGEST_S = 300.0  # of these


class Settling:
    """Measures for models, one tower at a time; used from one event loop.

    Args:
        models: those in memory.
    """

    def __init__(self, models: Callable[[], Iterable[Model]]) -> None:
        self._models = models
        self._task: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stirred = 0.0
        self._quiet_s = QUIET_S

    def begin(self) -> None:
        """Look after the models from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())

    def stir(self) -> None:
        """Tell that a model is used: what measures ends. May be called from any thread."""
        self._stirred = time.monotonic()
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Stop, also amid a measurement."""
        if self._task is not None:
            self._task.cancel()
        self.stir()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if (found := self._next()) is not None:
                try:
                    await self._settle(*found)
                except Exception:  # engines have their own kinds; it goes on as it runs, and is tried again much later
                    log.exception("the %s tower of %s cannot go on otherwise", found[1], found[0].name)
                    self._stirred, self._quiet_s = time.monotonic(), LONGEST_S

    def _next(self) -> tuple[Model, Literal["image", "text"]] | None:
        """What is to be measured now."""
        models = list(self._models())
        if time.monotonic() - self._stirred < self._quiet_s or any(model.busy for model in models):
            return None
        return next(((model, tower) for model in models for tower in TOWERS if model.encoder.due(tower)), None)

    async def _settle(self, model: Model, tower: Literal["image", "text"]) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "anmok.serve.measurer", model.encoder.name, tower]
        status, said = await asyncio.to_thread(self._measured, command, began)
        if status and self._stirred >= began:
            self._quiet_s = min(2 * self._quiet_s, LONGEST_S)
            return
        if status:
            why = said.decode(errors="replace").strip().splitlines()[-1:] or ["it was stopped"]
            log.warning("the %s tower of %s could not be measured: %s", tower, model.name, why[0])
        self._quiet_s = QUIET_S
        await asyncio.to_thread(model.encoder.settle, tower, measure=False)
        log.info("the %s tower of %s goes on in %s", tower, model.name, model.encoder.runs(tower))

    def _measured(self, command: list[str], began: float) -> tuple[int, bytes]:
        """The exit status of the process that measures, and what it said; in a thread."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the service, which stops it
        )
        self._process = process
        if self._stirred >= began:  # before there was something to end
            process.kill()
        _, said = process.communicate()
        self._process = None
        return process.returncode, said
