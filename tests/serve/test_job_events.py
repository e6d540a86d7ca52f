"""A small service on a real socket: events of a job as a client reads them."""

import http.client
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.sse import EventSourceResponse, ServerSentEvent

from anmok.errors import UnknownJob
from anmok.serve.job import Job
from anmok.serve.job_events import job_events


def app_of(jobs):
    app = FastAPI()

    def find_job(id: str) -> Job:
        try:
            return jobs.get(id)
        except UnknownJob as error:
            raise HTTPException(404, str(error)) from error

    @app.get("/jobs/{id}/events", response_class=EventSourceResponse)
    async def events(job: Annotated[Job, Depends(find_job)]) -> AsyncIterator[ServerSentEvent]:
        async for event in job_events(jobs, job.id):
            yield event

    return app


class Server(uvicorn.Server):
    """Ends open streams when it is told to stop, as the service has to."""

    jobs = None

    async def shutdown(self, sockets=None):
        self.jobs.dismiss_watchers()
        await super().shutdown(sockets)


@pytest.fixture
def server(jobs, monkeypatch):
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.25)
    server = Server(uvicorn.Config(app_of(jobs), port=0, log_level="error"))
    server.jobs = jobs
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    server.port, server.thread = server.servers[0].sockets[0].getsockname()[1], thread
    yield server
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def ask(server):
    """GET a path; the answer is read line by line. Its connection is closed at the end."""
    connections = []

    def asking(path):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connections.append(connection)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.leave = connection.close
        return answer

    yield asking
    for connection in connections:
        connection.close()


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def next_event(answer):
    """(event, data); a comment is (None, its text); None at the end of the stream."""
    lines = []
    while (line := answer.readline().decode()) not in ("", "\n"):
        lines.append(line.rstrip("\n"))
    if not lines:
        return None
    fields = dict(line.split(": ", 1) for line in lines)
    return (fields["event"], json.loads(fields["data"])) if "event" in fields else (None, fields[""])


def test_a_client_is_told_progress_and_the_end(jobs, ask, workshop):
    job = jobs.submit("work", {"name": "a"})
    workshop.wait_for("a")
    answer = ask(f"/jobs/{job.id}/events")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    event, data = next_event(answer)
    assert (event, data["id"], data["state"]) == ("progress", job.id, "running")
    workshop.items = 4
    while (data["progress"] or {}).get("done") != 4:
        event, data = next_event(answer)
        assert event == "progress"
    assert (data["progress"]["name"], data["progress"]["total"]) == ("working", 10)
    workshop.end("a", {"picture": "caf\udce9"})
    while event == "progress":
        event, data = next_event(answer)
    assert (event, data["state"], data["result"]) == ("finished", "done", {"picture": "caf?"})
    assert next_event(answer) is None
    assert next_event(ask(f"/jobs/{job.id}/events"))[0] == "finished"


def test_one_that_waits_is_kept_alive_by_comments(jobs, ask, workshop):
    jobs.submit("work", {"name": "a"})
    job = jobs.submit("work", {"name": "b"})
    answer = ask(f"/jobs/{job.id}/events")
    assert next_event(answer)[1]["state"] == "queued"
    assert [next_event(answer) for _ in range(2)] == [(None, "ping")] * 2
    jobs.cancel(job.id)
    assert next_event(answer)[1]["state"] == "cancelled"


def test_an_unknown_job_is_not_found(ask):
    for id in ("0" * 16, "%F0%90", "%00", "a" * 5000):
        assert ask(f"/jobs/{id}/events").status == 404


@pytest.mark.parametrize("reports", [True, False])
def test_a_client_that_goes_ends_its_watch(reports, jobs, ask, workshop):
    if not reports:
        workshop.stubborn.add("a")
    job = jobs.submit("work", {"name": "a"})
    workshop.wait_for("a")
    answers = [ask(f"/jobs/{job.id}/events") for _ in range(3)]
    assert {next_event(answer)[0] for answer in answers} == {"progress"}
    assert len(jobs._watchers) == 3
    answers[0].leave()
    wait_until(lambda: len(jobs._watchers) == 2)
    answers[1].leave()
    answers[2].leave()
    wait_until(lambda: len(jobs._watchers) == 0)


def test_a_server_that_stops_ends_its_streams(jobs, server, ask, workshop):
    workshop.stubborn.add("a")
    job = jobs.submit("work", {"name": "a"})
    workshop.wait_for("a")
    answer = ask(f"/jobs/{job.id}/events")
    assert next_event(answer)[0] == "progress"
    began = time.monotonic()
    server.should_exit = True
    assert next_event(answer) in (None, (None, "ping"))
    server.thread.join(10)
    assert time.monotonic() - began < 2
