"""Many requests become few runs, nobody waits behind another's thousand, and what nobody waits for is not done."""

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.serve import batching
from anmok.serve.batching import Batcher
from anmok.serve.problems import ApiError


class Slow:
    """Doubles numbers, a few milliseconds a run; remembers the runs."""

    def __init__(self, seconds=0.005):
        self.runs, self.seconds = [], seconds

    def __call__(self, items):
        time.sleep(self.seconds)
        self.runs.append(list(items))
        return [2 * item for item in items]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(), max_size=12), min_size=1, max_size=8), st.integers(1, 7))
def test_every_request_gets_its_own_answers_in_order(requests, size):
    slow = Slow(0.001)

    async def ask():
        batcher = Batcher(slow, size=size, window_s=0.001, waiting=1000)
        answers = await asyncio.gather(*(batcher.submit(r, client=str(i)) for i, r in enumerate(requests)))
        batcher.close()
        return answers

    assert run(ask()) == [[2 * item for item in request] for request in requests]
    assert all(1 <= len(items) <= size for items in slow.runs)
    assert sum(map(len, slow.runs)) == sum(map(len, requests))


def test_what_arrives_together_runs_together():
    slow = Slow()

    async def ask():
        batcher = Batcher(slow, size=8)
        for _ in range(3):
            await asyncio.gather(*(batcher.submit([i], client=str(i)) for i in range(8)))
        batcher.close()

    run(ask())
    assert sorted(map(len, slow.runs)) == [8, 8, 8]


def test_a_slow_model_works_on_few_at_a_time(monkeypatch):
    monkeypatch.setattr(batching, "LONGEST_S", 0.02)
    runs = []

    def slow(items):
        time.sleep(0.005 * len(items))
        runs.append(len(items))
        return items

    async def ask():
        batcher = Batcher(slow, size=32)
        assert await batcher.submit(range(100)) == list(range(100))
        batcher.close()

    run(ask())
    assert runs[0] == 2 and max(runs) <= 4  # of 32: before anything is known, an item is taken to need 10 ms
    assert sum(runs) == 100


def test_a_model_that_needs_long_for_one_works_on_one(monkeypatch):
    monkeypatch.setattr(batching, "LONGEST_S", 0.001)
    slow = Slow()

    async def ask():
        batcher = Batcher(slow, size=8)
        assert await batcher.submit(range(5)) == [0, 2, 4, 6, 8]
        batcher.close()

    run(ask())
    assert [len(items) for items in slow.runs] == [1] * 5


def test_a_single_client_does_not_wait_for_company():
    slow = Slow(0)

    async def ask():
        batcher = Batcher(slow, window_s=0.5)
        await batcher.submit([0])
        start = time.perf_counter()
        for i in range(20):
            await batcher.submit([i])
        batcher.close()
        return time.perf_counter() - start

    assert run(ask()) < 0.5  # one window alone would take that long


def test_one_picture_does_not_wait_behind_a_thousand():
    slow = Slow()

    async def ask():
        batcher = Batcher(slow, size=4, waiting=2000)
        many = asyncio.create_task(batcher.submit(range(1000), client="many"))
        await asyncio.sleep(0.012)
        await batcher.submit([-1], client="one")
        before = len(slow.runs)
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        batcher.close()
        return before

    assert run(ask()) <= 6  # of 250


def test_too_many_are_told_when_to_come_back():
    slow = Slow(0.05)

    async def ask():
        batcher = Batcher(slow, size=2, waiting=4)
        first = [asyncio.create_task(batcher.submit([0, 0]))]
        await asyncio.sleep(0.02)  # these run, and four more wait
        first += [asyncio.create_task(batcher.submit([i, i])) for i in (1, 2)]
        await asyncio.sleep(0.005)
        with pytest.raises(ApiError) as refused:
            await batcher.submit([1])
        assert await asyncio.gather(*first) == [[0, 0], [2, 2], [4, 4]]
        assert await batcher.submit([5]) == [10]  # room again
        batcher.close()
        return refused.value

    error = run(ask())
    assert error.status == 429 and 0 < error.retry_after < 1


def test_a_request_larger_than_the_queue_is_served_when_nothing_waits():
    async def ask():
        batcher = Batcher(Slow(0), size=2, waiting=4)
        found = await batcher.submit(range(20))
        batcher.close()
        return found

    assert run(ask()) == [2 * i for i in range(20)]


def test_what_a_client_that_left_asked_for_is_not_done():
    slow = Slow(0.03)

    async def ask():
        batcher = Batcher(slow, size=1)
        stays = asyncio.create_task(batcher.submit([1], client="stays"))
        leaves = asyncio.create_task(batcher.submit([2, 3, 4], client="leaves"))
        await asyncio.sleep(0.01)
        leaves.cancel()
        assert await stays == [2]
        assert batcher.waiting == 0
        assert await batcher.submit([5]) == [10]
        batcher.close()

    run(ask())
    assert [item for items in slow.runs for item in items] in ([1, 5], [1, 2, 5])


def test_an_error_reaches_everyone_in_the_run_and_the_next_run_goes_on():
    def fail_once(items, state=[]):  # noqa: B006
        state.append(1)
        if len(state) == 1:
            raise ValueError("broken")
        return items

    async def ask():
        batcher = Batcher(fail_once, size=4)
        found = await asyncio.gather(batcher.submit([1]), batcher.submit([2, 3]), return_exceptions=True)
        assert all(isinstance(one, ValueError) for one in found)
        assert await batcher.submit([4]) == [4]
        batcher.close()

    run(ask())


def test_runs_are_one_at_a_time_and_not_in_the_event_loop():
    inside, most, threads = [0], [0], set()

    def count(items):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threads.add(threading.get_ident())
        time.sleep(0.002)
        inside[0] -= 1
        return items

    async def ask():
        batcher = Batcher(count, size=2)
        await asyncio.gather(*(batcher.submit([i]) for i in range(20)))
        batcher.close()

    run(ask())
    assert most == [1] and threading.get_ident() not in threads
