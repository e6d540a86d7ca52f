"""`/v1/collections`: make, look at and delete collections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response

from anmok.errors import JobConflict
from anmok.serve.names import checked_name, sendable
from anmok.serve.routes.common import PROBLEMS, WRITES, listed, service_of, thumbnail_address
from anmok.serve.schemas import (
    MOST,
    CollectionRequest,
    Collections,
    CollectionStats,
    DuplicateModel,
    Duplicates,
    Failed,
    FailedPicture,
)

if TYPE_CHECKING:
    from anmok.collections import Collection
    from anmok.serve.service import Service

__all__ = ["router"]

router = APIRouter(tags=["collections"], responses=PROBLEMS)
MOST_PAIRS = 1_000_000  # of pictures that are alike, in a search for duplicates


@router.get("/v1/collections")
async def list_collections(request: Request) -> Collections:
    """All collections, by name."""
    service = service_of(request)
    names = service.library.collections.names()
    found, errors = await listed(names, lambda name: _stats(service, name))
    return Collections(collections=found, errors=errors)


@router.post("/v1/collections", status_code=201, dependencies=[WRITES])
async def create_collection(request: Request, body: CollectionRequest) -> CollectionStats:
    """Make an empty collection."""
    service = service_of(request)
    await service.library.collections.create(body.name, body.model)
    return await _stats(service, body.name)


@router.get("/v1/collections/{name}")
async def collection_stats(request: Request, name: str) -> CollectionStats:
    """Size and state of a collection."""
    return await _stats(service_of(request), name)


@router.delete("/v1/collections/{name}", status_code=204, dependencies=[WRITES])
async def delete_collection(request: Request, name: str) -> Response:
    """Delete a collection and what was uploaded to it. Pictures of indexed folders stay where they are.

    While a job works on it that is a conflict: cancel the job first.
    """
    service = service_of(request)
    for state in ("running", "queued"):
        for job in await asyncio.to_thread(service.jobs.list, MOST, state=state):
            if job.unique == checked_name(name):
                raise JobConflict(job.id, job.state)
    await service.library.collections.delete(name)
    return Response(status_code=204)


@router.get("/v1/collections/{name}/failed")
async def list_failed(
    request: Request,
    name: str,
    skip: Annotated[int, Query(ge=0)] = 0,
    top: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Failed:
    """The pictures that could not be taken in, and why."""
    service = service_of(request)
    async with service.library.collections.use(name) as (opened, _):
        failures = await asyncio.to_thread(lambda: opened.thing.failed)
        shown = [
            FailedPicture(
                id=service.library.pictures.id_of(failure.picture, {}),
                error=sendable(service.without_paths(failure.error)),
            )
            for failure in failures[skip : skip + top]
        ]
    return Failed(total=len(failures), failed=shown)


@router.get("/v1/collections/{name}/duplicates")
async def list_duplicates(
    request: Request,
    name: str,
    threshold: Annotated[float, Query(ge=0.5, le=1)] = 0.97,
    top: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Duplicates:
    """Groups of pictures that are nearly the same, the largest first. One such search of a collection at a time."""
    service = service_of(request)

    def find(collection: Collection) -> list[list[str]]:
        groups = collection.near_duplicates(threshold, most=MOST_PAIRS)[:top]
        return [
            [
                service.library.pictures.id_of(key, item.metadata if item else {})
                for key, item in zip(group.pictures, collection.get(group.pictures), strict=True)
            ]
            for group in groups
        ]

    async with service.library.collections.use(name) as (opened, _):
        groups = await service.library.collections.look_through(opened, lambda: find(opened.thing))
    return Duplicates(
        groups=[[DuplicateModel(id=one, thumbnail=thumbnail_address(name, one)) for one in group] for group in groups]
    )


async def _stats(service: Service, name: str) -> CollectionStats:
    async with service.library.collections.use(name) as (opened, model):
        stats = await asyncio.to_thread(opened.thing.stats)
        ids = [service.library.pictures.id_of(folder, {"root": folder, "path": ""}) for folder in stats.folders]
    return CollectionStats(
        name=name,
        pictures=stats.pictures,
        failed=stats.failed,
        folders=[one.removesuffix("/.") for one in ids],  # of a root itself
        model=model.name,
        fingerprint=stats.fingerprint,
        bytes=stats.store.database_bytes + stats.store.index_bytes,
        exact=stats.store.indexed == 0,
    )
