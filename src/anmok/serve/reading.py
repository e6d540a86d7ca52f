"""Texts in a script that a model cannot read: what clients are told, and which of the served models can read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anmok.checkpoints import load_checkpoint
from anmok.errors import AnmokError
from anmok.serve.schemas import WarningModel
from anmok.texts import unsupported_scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anmok.serve.models import Model
    from anmok.texts import Tokenizer, UnsupportedScript

__all__ = ["Reading"]


class Reading:
    """What the served models can read; used from one event loop.

    Args:
        sources: the served models, and what each is loaded by.
        loaded: those in memory.
    """

    def __init__(self, sources: Mapping[str, str], loaded: Callable[[], Iterable[Model]]) -> None:
        self._sources, self._loaded = sources, loaded
        self._known: dict[tuple[str, str], bool] = {}  # (model, script) → whether it reads it, of those not in memory
        self._opening = asyncio.Lock()

    async def warnings(self, model: Model, texts: Sequence[str]) -> list[WarningModel]:
        """What there is to say of texts that a model is to read, a warning for each script; often nothing."""
        if all(text.isascii() for text in texts):
            return []
        found = await asyncio.to_thread(unsupported_scripts, model.encoder.checkpoint.tokenizer, texts)
        return [_warning(model.name, one, await self._readers(one)) for one in found]

    async def _readers(self, one: UnsupportedScript) -> list[str]:
        """The served models that read a script."""
        loaded = {model.name: model.encoder.checkpoint.tokenizer for model in self._loaded()}
        found = []
        for name in self._sources:
            if name in loaded:
                reads = _reads(loaded[name], one)
            else:
                async with self._opening:
                    if (name, one.script) not in self._known:
                        self._known[name, one.script] = await asyncio.to_thread(self._opened, name, one)
                reads = self._known[name, one.script]
            if reads:
                found.append(name)
        return found

    def _opened(self, name: str, one: UnsupportedScript) -> bool:
        try:  # the weights stay on the disk; nothing is fetched for a warning
            return _reads(load_checkpoint(self._sources[name], offline=True).tokenizer, one)
        except (AnmokError, OSError):
            return False


def _reads(tokenizer: Tokenizer, one: UnsupportedScript) -> bool:
    return not unsupported_scripts(tokenizer, [one.example])


def _warning(name: str, one: UnsupportedScript, readers: list[str]) -> WarningModel:
    way = f"Of the models served here {', '.join(readers)} can read it. Use that, or write the texts in English"
    if not readers:
        way = f"No model that is served here can read it. Write the texts in English, or serve {one.way_out} too"
    message = (
        f"the model {name!r} cannot read {one.script} text such as {one.example!r}: {one.reason}. "
        f"What it answers to such texts is close to noise. {way}"
    )
    return WarningModel(
        code="unsupported_script", message=message, items=list(one.places), script=one.script, models=readers
    )
