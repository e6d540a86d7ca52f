"""Connections on real sockets: heads without end, answers that nobody takes, and more of them than there may be."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
import uvicorn

from anmok.serve import connections as room
from anmok.serve.connections import at_most

from .serving import status_of, until

ASK = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "
BIG = 32 << 20
PIECE = 1 << 16


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(room, "HEAD_S", 1.0)
    monkeypatch.setattr(room, "UNTAKEN_S", 1.0)
    monkeypatch.setattr(room, "LOOK_S", 0.05)


class App:
    """Answers at once, without reading; "/wait" when it is told to, "/big" and "/slow" with much, in pieces."""

    def __init__(self):
        self.go = threading.Event()
        self.waiting = 0

    async def __call__(self, scope, _, send):
        path = scope["path"]
        if path == "/wait":
            self.waiting += 1
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size(path))]})
        pieces = {"/big": BIG // PIECE, "/slow": 16}.get(path, 0)
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": b"x" * PIECE, "more_body": True})
            await asyncio.sleep(0.1 if path == "/slow" else 0)
        await send({"type": "http.response.body", "body": b"x" * (size(path) - pieces * PIECE)})


def size(path):
    return {"/big": BIG, "/slow": 16 * PIECE, "/whole": BIG}.get(path, 2)


@contextmanager
def running(most):
    app = App()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=at_most(most), ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started)
            yield app, server, listening.getsockname()[1]
        finally:
            app.go.set()
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def open_to():
    """`open_to(port, sent)` → a socket that has sent something, closed at the end."""
    with ExitStack() as stack:

        def opening(port, sent=b"", *, buffer=None):
            channel = stack.enter_context(socket.socket())
            if buffer:
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            channel.settimeout(10)
            channel.connect(("127.0.0.1", port))
            channel.sendall(sent)
            return channel

        yield opening


def answered(channel):
    """The whole of a small answer."""
    answer = b""
    while not answer.endswith(b"xx"):
        part = channel.recv(65536)
        assert part, answer
        answer += part
    return status_of(answer)


def ended(channel):
    """Whether the other side has closed, without waiting; what came before is thrown away."""
    channel.setblocking(False)
    try:
        while channel.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        channel.settimeout(10)
    return True


def trickle(channels, seconds):
    """A byte to each, again and again."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        for channel in channels:
            with suppress(OSError):
                channel.send(b"a")
        time.sleep(0.05)


def test_two_hundred_that_never_finish_a_head_are_closed_and_others_answered_meanwhile(serve, open_to):
    served = serve()
    port = urlsplit(served.address).port
    whole = ASK % b"healthz"
    with httpx.Client(base_url=served.address, timeout=10) as kept:
        assert kept.get("/healthz").status_code == 200
        silent = [open_to(port, sent) for sent in (b"", HALF) for _ in range(50)]
        slow = [open_to(port, HALF) for _ in range(50)] + [open_to(port, whole + HALF) for _ in range(50)]
        assert not ended(slow[-1])
        trickling = threading.Thread(target=trickle, args=(slow, 1.5))
        trickling.start()
        for _ in range(10):
            began = time.monotonic()
            assert httpx.get(f"{served.address}/v1/models").status_code == 200
            assert time.monotonic() - began < 0.9
        until(lambda: all(ended(channel) for channel in silent + slow), 4)
        trickling.join()
        assert kept.get("/healthz").status_code == 200  # one that asked and then was silent is no such client


def test_a_body_that_goes_on_after_its_answer_is_cut_off(open_to):
    with running(8) as (_, _, port):
        channel = open_to(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        assert answered(channel) == 200
        trickle([channel], 0.5)
        assert not ended(channel)
        trickle([channel], 1.0)
        assert ended(channel)


def test_answers_that_nobody_takes_are_given_up_and_those_taken_slowly_are_not(open_to):
    with running(8) as (_, server, port):
        deaf = [open_to(port, ASK % path, buffer=PIECE) for path in (b"big", b"whole")]
        slow = open_to(port, ASK % b"whole", buffer=PIECE)
        events = open_to(port, ASK % b"slow")
        taken, over = 0, time.monotonic() + 1.8
        while time.monotonic() < over:
            taken += len(slow.recv(PIECE * 4))
            time.sleep(0.02)
        until(lambda: len(server.server_state.connections) <= 2, 4)
        assert len(server.server_state.tasks) <= 2  # what was to send to them has ended
        while taken < BIG and (part := slow.recv(1 << 20)):
            taken += len(part)
        assert taken > BIG
        taken = 0
        while taken < 16 * PIECE:
            taken += len(part := events.recv(1 << 20))
            assert part
        for channel in deaf:
            got = 0
            with suppress(ConnectionError):
                while part := channel.recv(1 << 20):
                    got += len(part)
            assert got < BIG


def test_of_too_many_the_one_idle_longest_goes_and_who_asks_is_answered(open_to):
    with running(5) as (_, server, port):
        idle = [open_to(port, ASK % b"") for _ in range(4)]
        assert [answered(channel) for channel in idle] == [200] * 4
        silent = open_to(port)
        until(lambda: len(server.server_state.connections) == 5)
        idle[0].sendall(ASK % b"")
        assert answered(idle[0]) == 200  # idle[1] is the longest idle now
        new = open_to(port, ASK % b"")
        assert answered(new) == 200
        until(lambda: ended(idle[1]))
        assert not any(ended(channel) for channel in (idle[0], *idle[2:], silent, new))
        crowd = [open_to(port) for _ in range(50)]
        last = open_to(port, ASK % b"")
        assert answered(last) == 200 and len(server.server_state.connections) <= 6
        until(lambda: sum(not ended(channel) for channel in crowd) <= 4)


def test_where_all_are_at_work_a_further_one_is_told_to_come_back(open_to):
    with running(3) as (app, _, port):
        busy = [open_to(port, ASK % b"wait") for _ in range(3)]
        until(lambda: app.waiting == 3)
        refused = httpx.get(f"http://127.0.0.1:{port}/")
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "unavailable"
        app.go.set()
        assert [answered(channel) for channel in busy] == [200] * 3
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
