"""A job as server-sent events, for a route of FastAPI's that streams them.

    @app.get("/jobs/{id}/events", response_class=EventSourceResponse)
    async def events(job: Annotated[Job, Depends(find_job)]) -> AsyncIterator[ServerSentEvent]:
        async for event in job_events(jobs, job.id):
            yield event

The job has to be found before the route begins: the answer's status is sent before the first event is asked for.
FastAPI sends a comment every 15 seconds in which nothing happens, and ends the watch when the client has gone.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi.sse import ServerSentEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from anmok.serve.job import Job
    from anmok.serve.jobs import Jobs

__all__ = ["job_events"]


async def job_events(
    jobs: Jobs, id: str, shown: Callable[[Job], Any] = lambda job: job
) -> AsyncIterator[ServerSentEvent]:
    """Events `progress` with the job at each change, and one `finished` when it is over.

    A stream that ends without `finished` was ended by a service that stops: browsers ask again by themselves.

    Args:
        jobs: that have it.
        id: of the job.
        shown: what clients see of it, as JSON.

    Raises:
        UnknownJob: there is no such job.
    """
    async with aclosing(jobs.watch(id)) as states:
        async for job in states:
            yield ServerSentEvent(data=shown(job), event="finished" if job.over else "progress")
