"""`/v1/labels` and `/v1/recognisers`: what pictures can be recognised as."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from anmok.classify import Label, LabelSet
from anmok.errors import AnmokError
from anmok.serve.pictures import UploadRoute, contents_of
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, WRITES, encode, listed, service_of
from anmok.serve.schemas import (
    MOST,
    Calibrated,
    CalibrateRequest,
    LabelModel,
    LabelNames,
    LabelsChanged,
    LabelSetDetail,
    LabelSetFacts,
    LabelSetMade,
    LabelSetRequest,
    LabelSets,
    LabelsRequest,
    Problem,
    RecogniserFacts,
    Recognisers,
    WarningModel,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anmok.classify import LabelStore
    from anmok.serve.service import Service

__all__ = ["router"]

router = APIRouter(tags=["labels"], route_class=UploadRoute, responses=PROBLEMS)


@router.get("/v1/labels")
async def list_label_sets(request: Request) -> LabelSets:
    """All label sets, by name."""
    service = service_of(request)
    names = service.library.labels.names()
    found, errors = await listed(names, lambda name: _facts(service, name))
    return LabelSets(label_sets=found, errors=errors)


@router.post("/v1/labels", status_code=201, dependencies=[WRITES])
async def create_label_set(request: Request, body: LabelSetRequest) -> LabelSetMade:
    """Make a label set; its labels are encoded once."""
    service = service_of(request)
    labels = _set_of(body.labels)
    await service.library.labels.create(body.name, labels, body.templates, body.model)
    facts = await _facts(service, body.name)
    return LabelSetMade(**facts.model_dump(), warnings=await _warnings(service, facts.model, labels))


@router.get("/v1/labels/{name}")
async def label_set(
    request: Request,
    name: str,
    skip: Annotated[int, Query(ge=0)] = 0,
    top: Annotated[int, Query(ge=1, le=MOST)] = 100,
    prefix: str = "",
) -> LabelSetDetail:
    """A label set, and those of its labels that begin with the prefix."""
    service = service_of(request)
    async with service.library.labels.store(name) as store:
        total, found = await asyncio.to_thread(store.page, skip, top, prefix=prefix)
        facts = _facts_of(service, name, store)
    return LabelSetDetail(**facts.model_dump(), total=total, members=[_model(label) for label in found])


@router.delete("/v1/labels/{name}", status_code=204, dependencies=[WRITES])
async def delete_label_set(request: Request, name: str) -> Response:
    """Delete a label set."""
    await service_of(request).library.labels.delete(name)
    return Response(status_code=204)


@router.post("/v1/labels/{name}/labels", dependencies=[WRITES])
async def add_labels(request: Request, name: str, body: LabelsRequest) -> LabelsChanged:
    """Add labels. One that is there already is an error; nothing is added then."""

    service, labels = service_of(request), _set_of(body.labels)

    def add(store: LabelStore) -> LabelsChanged:
        if present := store.get(labels.names):
            raise ApiError(409, f"the label {present[0].name!r} is there already: PUT changes it")
        return LabelsChanged(added=list(store.add(labels).added))

    async with service.library.labels.store(name) as store:
        changed = await asyncio.to_thread(add, store)
        changed.warnings = await _warnings(service, service.library.model_name(store.encoder), labels)
        return changed


@router.put("/v1/labels/{name}/labels", dependencies=[WRITES])
async def put_labels(request: Request, name: str, body: LabelsRequest) -> LabelsChanged:
    """Add labels, in place of those of the same names."""

    service, labels = service_of(request), _set_of(body.labels)

    def put(store: LabelStore) -> LabelsChanged:
        done = store.add(labels)
        return LabelsChanged(added=list(done.added), changed=list(done.changed), unchanged=list(done.unchanged))

    async with service.library.labels.store(name) as store:
        changed = await asyncio.to_thread(put, store)
        changed.warnings = await _warnings(service, service.library.model_name(store.encoder), labels)
        return changed


@router.post("/v1/labels/{name}/labels/delete", dependencies=[WRITES])
async def delete_labels(request: Request, name: str, body: LabelNames) -> LabelsChanged:
    """Delete labels. One that is not there is an error; nothing is deleted then."""

    def delete(store: LabelStore) -> None:
        known = {label.name for label in store.get(body.names)}
        if missing := [name for name in body.names if name not in known]:
            raise ApiError(404, f"there is no label {missing[0]!r}")
        store.delete(body.names)

    async with service_of(request).library.labels.store(name) as store:
        await asyncio.to_thread(delete, store)
    return LabelsChanged(deleted=body.names)


@router.post("/v1/labels/{name}/calibrate", dependencies=[WRITES])
async def calibrate(request: Request, name: str, body: CalibrateRequest) -> Calibrated:
    """Learn from examples from where on a picture shows one of the labels, and keep it."""
    service = service_of(request)
    if len(body.pictures) != len(body.labels):
        raise ApiError(422, f"{len(body.pictures)} pictures but {len(body.labels)} labels: expected one per picture")
    contents = await contents_of(request, body.pictures)
    async with service.library.labels.use(name) as (classifier, model):
        embeddings, problems = await encode(request, model, contents)
        if problems:
            number, first = next(iter(problems.items()))
            raise ApiError(422, f"picture {number}: {first.message}", code=first.code)
        threshold = await asyncio.to_thread(classifier.fit_threshold_embeddings, embeddings, body.labels)

    def keep(store: LabelStore) -> None:
        store.threshold = threshold

    async with service.library.labels.store(name) as store:
        await asyncio.to_thread(keep, store)
    return Calibrated(threshold=threshold)


@router.get("/v1/recognisers")
async def list_recognisers(request: Request) -> Recognisers:
    """All recognisers that lie in the service's folder, by name."""
    library = service_of(request).library
    found, errors = [], {}
    for name in library.recognisers.names():
        try:
            found.append(_recogniser(name, await library.recognisers.describe(name)))
        except (AnmokError, ApiError, KeyError, TypeError) as error:
            errors[name] = Problem(code="unavailable", message=type(error).__name__)
    return Recognisers(recognisers=found, errors=errors)


def _recogniser(name: str, told: dict[str, Any]) -> RecogniserFacts:
    model = "its own" if told["encoder"]["own"] else told["encoder"]["name"].rsplit("/", 1)[-1]
    facts = {key: value for key, value in told["facts"].items() if key != "left out"}
    return RecogniserFacts(name=name, labels=[label["name"] for label in told["labels"]], model=model, facts=facts)


async def _facts(service: Service, name: str) -> LabelSetFacts:
    async with service.library.labels.store(name) as store:
        return _facts_of(service, name, store)


def _facts_of(service: Service, name: str, store: LabelStore) -> LabelSetFacts:
    return LabelSetFacts(
        name=name,
        labels=len(store),
        model=service.library.model_name(store.encoder),
        templates=len(store.templates),
        threshold=store.threshold,
    )


async def _warnings(service: Service, model: str, labels: LabelSet) -> list[WarningModel]:
    async with service.models.use(model) as used:
        return await service.models.reading.warnings(used, [" ".join(label.texts) for label in labels])


def _set_of(labels: Iterable[LabelModel | str]) -> LabelSet:
    return LabelSet(one if isinstance(one, str) else _label(one) for one in labels)


def _label(model: LabelModel) -> Label:
    return Label(model.name, tuple(model.synonyms), model.ko, model.parent)


def _model(label: Label) -> LabelModel:
    return LabelModel(name=label.name, synonyms=list(label.synonyms), ko=label.ko, parent=label.parent)
