"""`/v1/models` and `/v1/status`: what is served here, how it runs, and how busy it is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from anmok.processor import processor_name, usable_cores
from anmok.serve.access import client_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, service_of
from anmok.serve.settling import TOWERS

if TYPE_CHECKING:
    from anmok.encoder import Encoder
    from anmok.runtime.trial import Tower
    from anmok.serve.models import Model

__all__ = ["router"]

router = APIRouter(tags=["service"], responses=PROBLEMS)


class ModelCard(BaseModel):
    """A model, as OpenAI's clients expect it."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "anmok"


class ModelList(BaseModel):
    """All models."""

    object: str = "list"
    data: list[ModelCard]


@router.get("/v1/models")
async def list_models(request: Request) -> ModelList:
    """The models that requests may name; the first is the usual one."""
    service = service_of(request)
    return ModelList(data=[ModelCard(id=name, created=int(service.began)) for name in service.models.names])


@router.get("/v1/models/{name:path}")
async def one_model(request: Request, name: str) -> ModelCard:
    """One model."""
    service = service_of(request)
    if name not in service.models.names:
        raise ApiError(404, f"there is no model {name!r} here", code="model_not_found")
    return ModelCard(id=name, created=int(service.began))


@router.get("/v1/status")
async def status(request: Request) -> dict[str, Any]:
    """Models and how they run, throughput over the last minute, memory, limits, and what this key may do."""
    from anmok import __version__

    service = service_of(request)
    settings, metrics = service.settings, service.metrics
    loaded = {model.name: model for model in service.models.loaded}
    models = [{"name": name, "loaded": name in loaded, **_facts(loaded.get(name))} for name in service.models.names]
    return {
        "version": __version__,
        "uptime_s": round(time.time() - service.began),
        "machine": {"processor": processor_name(), "cores": usable_cores()},
        "memory_mb": memory_mb(),
        "models": models,
        "throughput": {"pictures_s": metrics.per_second("image"), "texts_s": metrics.per_second("text")},
        "decoders": {"count": settings.decoder_count, "lost": service.decoders.lost},
        "limits": {
            "picture_bytes": settings.picture_bytes,
            "request_bytes": settings.request_bytes,
            "pictures_per_request": settings.pictures,
            "labels_per_request": settings.labels,
            "pixels": settings.pixels,
        },
        "urls_allowed": service.fetch is not None,
        "roots": [root.name for root in settings.roots],
        "keys_required": settings.keys_required,
        "scopes": list(client_of(request).scopes),
    }


def _facts(model: Model | None) -> dict[str, Any]:
    if model is None:
        return {}
    return {
        "dimension": model.encoder.dimension,
        "fingerprint": model.encoder.fingerprint,
        **{tower: _runs(model.encoder, tower) for tower in TOWERS},
        "megabytes": round(model.megabytes),
        "waiting": {"pictures": model.pictures.waiting, "texts": model.texts.waiting},
    }


def _runs(encoder: Encoder, tower: Tower) -> dict[str, Any]:
    """How a tower runs, how near that is to float32, and how many times as fast; `settled`: whether it stays so."""
    choice = encoder.choice(tower)
    fidelity = None
    if (told := choice.certificate) is not None:
        fidelity = {"mean": told.mean, "least": told.least, "agreement": told.agreement, "certificate": told.digest}
    return {
        "runs": str(choice.way),
        "engine": choice.way.engine,
        "precision": choice.way.precision,
        "settled": encoder.settled(tower),
        "fidelity": fidelity,
        "speedup": choice.speeds.get(str(choice.way)),
    }


def memory_mb() -> float | None:
    """Of this process, where the system tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
    except (OSError, ValueError):
        return None
