"""`/healthz`, `/readyz` and `/metrics`: for what watches over the service."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from anmok.serve.problems import ApiError
from anmok.serve.routes.common import service_of
from anmok.serve.settling import TOWERS

__all__ = ["router"]

router = APIRouter(tags=["service"])


@router.get("/healthz", name="alive")
async def alive() -> dict[str, str]:
    """Whether the process answers at all."""
    return {"status": "alive"}


@router.get("/readyz", name="ready")
async def ready(request: Request) -> dict[str, str]:
    """Whether it can do its work: models are loaded, and it is not about to stop."""
    if not service_of(request).ready:
        raise ApiError(503, "not ready yet, or about to stop", retry_after=1)
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters, in Prometheus' text format."""
    service = service_of(request)
    service.metrics.decoders_lost.set(service.decoders.lost)
    for gauge in (service.metrics.models, service.metrics.settled, service.metrics.fidelity):
        gauge.clear()  # how models ran before, and those that were let go
    for model in service.models.loaded:
        service.metrics.waiting.labels(model.name, "image").set(model.pictures.waiting)
        service.metrics.waiting.labels(model.name, "text").set(model.texts.waiting)
        runs = model.encoder.runs("image"), model.encoder.runs("text")
        service.metrics.models.labels(model.name, *runs).set(1)
        for tower in TOWERS:
            choice = model.encoder.choice(tower)
            mean = 1.0 if choice.certificate is None else choice.certificate.mean
            service.metrics.settled.labels(model.name, tower).set(model.encoder.settled(tower))
            service.metrics.fidelity.labels(model.name, tower, choice.way.precision).set(mean)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
