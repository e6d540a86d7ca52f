"""Lists of labels that come with requests: each is encoded once, and those used last are remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from anmok.classify import Classifier, LabelSet
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.serve.models import Model
    from anmok.serve.works import Works

    Key = tuple[Any, ...]

__all__ = ["AdHocLabels"]

REMEMBERED = 64  # lists
WAITING = 32  # requests that may wait for their lists to be encoded


class AdHocLabels:
    """Classifiers by their lists of labels; used from one event loop."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self._known: OrderedDict[Key, Classifier] = OrderedDict()
        self._encoding = asyncio.Lock()  # one list at a time
        self._to_encode: dict[Key, asyncio.Task[Classifier]] = {}

    async def classifier(self, model: Model, labels: Sequence[str], templates: str) -> Classifier:
        """A classifier of labels that came with a request.

        Raises:
            ApiError: many others wait for theirs (429).
        """
        key = (model.encoder.fingerprint, tuple(labels), templates)
        known = self._known.get(key)
        if known is not None and known.encoder is model.encoder:
            self._known.move_to_end(key)
            return known
        if (task := self._to_encode.get(key)) is None:  # another request may have brought the same list
            if len(self._to_encode) >= WAITING:
                raise ApiError(429, f"{len(self._to_encode)} other lists of labels wait: try again", retry_after=1)
            task = self._to_encode[key] = self._works.begin(self._encode(key, model, LabelSet(labels), templates))
        return await asyncio.shield(task)

    def forget(self, model: Model) -> None:
        """Let go of what holds the encoder of a model in memory."""
        for key, classifier in list(self._known.items()):
            if classifier.encoder is model.encoder:
                del self._known[key]

    async def _encode(self, key: Key, model: Model, labels: LabelSet, templates: str) -> Classifier:
        try:
            async with self._encoding:
                made = await asyncio.to_thread(Classifier, model.encoder, labels, templates=templates)
        finally:
            del self._to_encode[key]
        self._known[key] = made
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return made
