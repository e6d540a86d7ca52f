"""Long jobs: index a folder, move a collection to another model; watch them and stop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from anmok.serve.job_events import job_events
from anmok.serve.names import checked_name
from anmok.serve.problems import ApiError
from anmok.serve.routes.common import PROBLEMS, WRITES, service_of
from anmok.serve.schemas import FolderRequest, Folders, JobFacts, JobList, MoveRequest, SubFolder

if TYPE_CHECKING:
    from anmok.serve.job import Job
    from anmok.serve.service import Service

__all__ = ["router"]

router = APIRouter(tags=["jobs"], responses=PROBLEMS)


@router.get("/v1/folders")
async def list_folders(request: Request, path: str = "") -> Folders:
    """The folders that may be indexed: the roots, or those in a folder below them."""
    library = service_of(request).library
    names = await asyncio.to_thread(library.roots.subfolders, path)
    start = path.strip("/")
    folders = [SubFolder(name=name, path=f"{start}/{name}" if start else name) for name in names]
    return Folders(path=start, folders=folders)


@router.post("/v1/collections/{name}/folders", status_code=202, dependencies=[WRITES])
async def index_folder(request: Request, name: str, body: FolderRequest) -> JobFacts:
    """Bring a collection up to date with a folder, in the background."""
    service = service_of(request)
    await service.library.collections.found(name)
    await asyncio.to_thread(service.library.roots.folder, body.folder)
    return await _submit(service, "index", {"collection": name, **body.model_dump()}, unique=checked_name(name))


@router.post("/v1/collections/{name}/re-encode", status_code=202, dependencies=[WRITES])
async def re_encode(request: Request, name: str, body: MoveRequest) -> JobFacts:
    """Move a collection to another model, in the background; both are compared before the switch."""
    service = service_of(request)
    await service.library.collections.found(name)
    if body.model not in service.models.names:
        raise ApiError(404, f"there is no model {body.model!r} here", code="model_not_found")
    return await _submit(service, "re-encode", {"collection": name, **body.model_dump()}, unique=checked_name(name))


@router.get("/v1/jobs")
async def list_jobs(request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 100) -> JobList:
    """Jobs, the newest first. Lists of failures are left out: ask for the job itself."""
    service = service_of(request)
    jobs = await asyncio.to_thread(service.jobs.list, top)
    return JobList(jobs=[_facts(service, job, brief=True) for job in jobs])


@router.get("/v1/jobs/{number}")
async def one_job(request: Request, number: str) -> JobFacts:
    """A job as it is now."""
    service = service_of(request)
    return _facts(service, await asyncio.to_thread(service.jobs.get, number))


@router.post("/v1/jobs/{number}/cancel", dependencies=[WRITES])
async def cancel_job(request: Request, number: str) -> JobFacts:
    """Stop a job. What it has done stays, and another one goes on from there."""
    service = service_of(request)
    return _facts(service, await asyncio.to_thread(service.jobs.cancel, number))


async def _known(request: Request, number: str) -> str:
    """A job that there is: the answer's status is sent before its first event."""
    await asyncio.to_thread(service_of(request).jobs.get, number)
    return number


@router.get("/v1/jobs/{number}/events", response_class=EventSourceResponse)
async def watch_job(request: Request, number: Annotated[str, Depends(_known)]) -> AsyncIterator[ServerSentEvent]:
    """A job as server-sent events: `progress` at each change, and `finished` at the end; both hold the job."""
    service = service_of(request)
    async for event in job_events(service.jobs, number, lambda job: _facts(service, job).model_dump()):
        yield event


async def _submit(service: Service, kind: str, arguments: dict[str, Any], *, unique: str) -> JobFacts:
    job = await asyncio.to_thread(service.jobs.submit, kind, arguments, unique=unique)
    return _facts(service, job)


def _facts(service: Service, job: Job, *, brief: bool = False) -> JobFacts:
    result = dict(job.result) if job.result is not None else None
    if brief and result is not None:
        result.pop("failed", None)
    return JobFacts(
        id=job.id,
        kind=job.kind,
        state=job.state,
        cancelling=job.cancelling,
        arguments=job.arguments,
        progress=asdict(job.progress) if job.progress is not None else None,
        result=result,
        error=None if job.error is None else service.without_paths(job.error),
        created=job.submitted_at,
        started=job.started_at,
        finished=job.finished_at,
    )
