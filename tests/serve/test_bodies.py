"""Room for all bodies together: shared in turn, given back whatever happens, and not exceeded by many slow senders."""

import asyncio
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from anmok.errors import SettingsError
from anmok.serve import bodies as room
from anmok.serve.bodies import FREE, Bodies
from anmok.serve.body import Body
from anmok.serve.problems import ApiError
from anmok.serve.settings import MEGABYTE, ServiceSettings

from .serving import status_of, until

SENDERS = 20
BODY = 2 * MEGABYTE
ROOM = 4 * MEGABYTE
PIECE = 256 << 10  # that is read from a socket at once


def test_who_waits_comes_in_turn_and_is_refused_in_time(monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 0.2)

    async def ask():
        bodies, came = Bodies(10), []

        async def take(size, client=None):
            await bodies.take(size, client or f"{size}")
            came.append(size)

        await take(6)
        tasks = [asyncio.create_task(take(size)) for size in (8, 3)]
        await asyncio.sleep(0.1)
        assert came == [6] and bodies.taken == 6  # 3 would fit, but 8 was there first
        bodies.give_back(6, "6")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert came == [6, 8] and bodies.taken == 8
        last = asyncio.create_task(take(1))  # it would fit, and waits for its turn
        with pytest.raises(ApiError, match="try again") as refused:
            await tasks[1]
        assert refused.value.status == 429 and refused.value.retry_after > 0
        await last
        assert came == [6, 8, 1] and bodies.taken == 9
        bodies.give_back(8, "8")
        bodies.give_back(1, "1")
        assert bodies.taken == 0 and not bodies._held

    asyncio.run(ask())


def test_a_client_holds_half_or_a_single_body_and_others_pass_it(monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 0.1)

    async def ask():
        bodies = Bodies(10)
        await bodies.take(3, "greedy")
        more = asyncio.create_task(bodies.take(3, "greedy"))
        await asyncio.sleep(0)
        await bodies.take(7, "other")  # more than half, but all that it has
        with pytest.raises(ApiError, match="try again"):
            await more
        with pytest.raises(ApiError, match="try again"):
            await bodies.take(2, "third")  # there is no more room
        bodies.give_back(7, "other")
        await bodies.take(2, "greedy")
        assert bodies.taken == 5 and dict(bodies._held) == {"greedy": 5}
        bodies.give_back(3, "greedy")
        bodies.give_back(2, "greedy")
        assert bodies.taken == 0 and not bodies._held

    asyncio.run(ask())


def test_who_leaves_while_waiting_holds_nothing(monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 5.0)

    async def ask():
        bodies = Bodies(10)
        await bodies.take(10, "a")
        first, second = asyncio.create_task(bodies.take(9, "b")), asyncio.create_task(bodies.take(1, "c"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        bodies.give_back(1, "a")
        await second
        assert bodies.taken == 10
        bodies.give_back(9, "a")
        bodies.give_back(1, "c")
        await bodies.take(10, "a")
        late = asyncio.create_task(bodies.take(9, "b"))
        await asyncio.sleep(0)
        bodies.give_back(10, "a")  # it is let in,
        late.cancel()  # and leaves at the same moment
        with pytest.raises(asyncio.CancelledError):
            await late
        assert bodies.taken == 0

    asyncio.run(ask())


def test_the_room_is_enough_for_one_body_or_nothing_starts(tmp_path):
    assert ServiceSettings(home=tmp_path, request_bytes=1000).bodies_bytes == 4000
    assert ServiceSettings(home=tmp_path, request_bytes=MEGABYTE, bodies_mb=1).bodies_bytes == MEGABYTE
    with pytest.raises(SettingsError, match="bodies_mb is 1, and one body may have 1,048,577 bytes"):
        ServiceSettings(home=tmp_path, request_bytes=MEGABYTE + 1, bodies_mb=1)


@pytest.fixture(scope="module")
def served(serve):
    return serve(request_bytes=BODY, bodies_mb=ROOM // MEGABYTE, keys=True)


@pytest.fixture(scope="module")
def keys(served):
    return [served.key(f"sender {number}") for number in range(SENDERS)]


@pytest.fixture
def held(monkeypatch):
    """What the app holds of bodies: bytes by body, the most of all together, and where their room is from."""
    sizes, most, rooms = {}, [0], set()
    count, close = Body._count, Body.close

    async def counted(body, part):
        sizes[body] = sizes.get(body, 0) + len(part)
        rooms.add(body._bodies)
        await count(body, part)
        most[0] = max(most[0], sum(sizes.values()))

    def closed(body):
        sizes.pop(body, None)
        close(body)

    monkeypatch.setattr(Body, "_count", counted)
    monkeypatch.setattr(Body, "close", closed)
    return sizes, most, rooms


def send(served, key, way, finish):
    """A body but for its end, until there is an answer or `finish` is set; then the end. The status."""
    body = b'{"texts": ["a"], "model": "none"' + b" " * BODY
    body = body[: BODY - 1]
    lines = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: %s\r\n" % key.encode()
    if way == "length":
        parts = [lines + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % BODY + body, b"}"]
    else:
        chunks = b"".join(b"10000\r\n%s\r\n" % body[at : at + 65536] for at in range(0, BODY - 65536, 65536))
        lines += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        parts = [lines + chunks, b"1\r\n}\r\n0\r\n\r\n"]
    with socket.create_connection(("127.0.0.1", urlsplit(served.address).port), timeout=20) as channel:
        channel.sendall(parts[0])
        while not finish.is_set() and not select.select([channel], [], [], 0.02)[0]:
            pass
        if not select.select([channel], [], [], 0)[0]:
            channel.sendall(parts[1])
        answer = b""
        while part := channel.recv(65536):
            answer += part
    assert status_of(answer) != 429 or b"retry-after: " in answer.lower()
    return status_of(answer)


@pytest.mark.parametrize("way", ["length", "chunks"])
def test_many_slow_senders_take_no_more_than_there_is_and_small_requests_pass(served, keys, held, monkeypatch, way):
    monkeypatch.setattr(room, "PATIENCE_S", 0.5)
    monkeypatch.setattr("anmok.serve.body.LINGER_S", 2.0)
    sizes, most, rooms = held
    finish = threading.Event()
    with ThreadPoolExecutor(SENDERS) as pool:
        sent = [pool.submit(send, served, key, way, finish) for key in keys]
        until(lambda: len(sizes) >= ROOM // BODY)
        for _ in range(10):
            assert ask(served, keys[0], b'{"texts": ["a"]}').status_code == 200
        until(lambda: sum(one.done() for one in sent) >= SENDERS - ROOM // BODY)
        finish.set()
        statuses = [one.result() for one in sent]
    loose = 0 if way == "length" else SENDERS * (FREE + PIECE)  # of those that wait, what came before they did
    assert ROOM // 2 < most[0] <= ROOM + loose + 10 * FREE
    assert statuses.count(404) == ROOM // BODY and statuses.count(429) == SENDERS - ROOM // BODY  # no such model
    until(lambda: not sizes and {one.taken for one in rooms} == {0})
    assert ask(served, keys[0], b'{"texts": ["a"]' + b" " * (BODY - 99) + b"}").status_code == 200


def test_one_slow_sender_leaves_room_to_others(served, keys, held, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE_S", 0.5)
    sizes, *_ = held
    finish = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(send, served, keys[0], "length", finish) for _ in range(3)]
        until(lambda: sizes)
        large = ask(served, keys[1], b'{"texts": ["a"]' + b" " * (BODY - 99) + b"}")
        assert large.status_code == 200
        until(lambda: sum(one.done() for one in sent) == 2)
        finish.set()
        assert sorted(one.result() for one in sent) == [404, 429, 429]


def ask(served, key, content):
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    return httpx.post(f"{served.address}/v1/embed", content=content, headers=headers, timeout=10)
