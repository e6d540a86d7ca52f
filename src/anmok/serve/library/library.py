"""All that a service keeps, one room for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.serve.library.ad_hoc import AdHocLabels
from anmok.serve.library.collections import Collections
from anmok.serve.library.labels import LabelSets
from anmok.serve.library.open_things import OpenThings
from anmok.serve.library.pictures import Pictures
from anmok.serve.library.recognisers import Recognisers
from anmok.serve.library.roots import Roots

if TYPE_CHECKING:
    from anmok.encoder import Encoder
    from anmok.serve.models import Model, Models
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.works import Works

__all__ = ["Library"]


class Library:
    """Everything by its name; used from one event loop, the slow parts in threads."""

    def __init__(self, settings: ServiceSettings, models: Models, works: Works) -> None:
        self.models = models
        self._open = OpenThings(settings, models, works)
        self.roots = Roots(settings.roots)
        self.collections = Collections(settings.home, models, self._open, works)
        self.pictures = Pictures(self.collections, self.roots, most_bytes=settings.picture_bytes)
        self.labels = LabelSets(settings.home, models, self._open, works)
        self.recognisers = Recognisers(settings.home, models, self._open)
        self.ad_hoc = AdHocLabels(works)
        models.unloading = self._let_go_of

    def model_name(self, encoder: Encoder) -> str:
        """What requests call the model that an encoder is of."""
        return next(model.name for model in self.models.loaded if model.encoder is encoder)

    def close(self) -> None:
        """Let go of all files."""
        self._open.close()

    def _let_go_of(self, model: Model) -> None:
        """A model is let go: so is what would hold it in memory."""
        self._open.retire_all_of(model)
        self.ad_hoc.forget(model)
