from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing

import pytest

from anmok import progress
from anmok.errors import UnknownJob
from anmok.serve.job import Job
from anmok.serve.job_watchers import Watchers


def collect(jobs, id, *, slow=0.0, seen=None):
    async def collecting():
        states = [] if seen is None else seen
        async for job in jobs.watch(id):
            states.append(job)
            if slow:
                await asyncio.sleep(slow)
        return states

    return collecting()


def test_watchers_see_the_state_now_every_change_and_the_end(jobs, workshop):
    first, second = jobs.submit("work", {"name": "a"}), jobs.submit("work", {"name": "b"})
    workshop.wait_for("a")

    async def run():
        all_seen = [[] for _ in range(20)]
        watches = [asyncio.ensure_future(collect(jobs, second.id, seen=seen)) for seen in all_seen]
        while not all(all_seen):
            await asyncio.sleep(0.002)
        seen = all_seen[0]
        workshop.end("a")
        while seen[-1].state != "running":
            await asyncio.sleep(0.002)
        workshop.items = 3
        while seen[-1].progress is None or seen[-1].progress.done != 3:
            await asyncio.sleep(0.002)
        workshop.end("b")
        return await asyncio.gather(*watches)

    for states in asyncio.run(run()):
        order = [job.state for job in states]
        assert order == sorted(order, key=["queued", "running", "done"].index)
        assert (order[0], order[-1]) == ("queued", "done")
        assert "running" in order
        done = [job.progress.done for job in states if job.progress]
        assert done == sorted(done)
        assert states[-1] == jobs.get(second.id)
    assert len(jobs._watchers) == 0
    assert [job.state for job in asyncio.run(collect(jobs, first.id))] == ["done"]


@pytest.mark.parametrize("slow", [0.0, 0.15])
def test_no_watcher_is_shown_more_than_it_can_take(slow, open_jobs):
    def busy(arguments, job):
        end = time.monotonic() + 0.5
        with progress.task("busy") as advance:
            while time.monotonic() < end:
                advance(1)
        return {}

    jobs = open_jobs(busy=busy)
    seen = asyncio.run(collect(jobs, jobs.submit("busy", {}).id, slow=slow))
    assert 3 <= len(seen) <= 10
    assert seen[-1].state == "done"
    assert seen[-1].progress.done > 1000


def test_a_loop_that_is_busy_is_told_once_of_any_number_of_states():
    watchers, states = Watchers(), [Job("a", "work", {}, float(number)) for number in range(1000)]

    def tell_all():
        for job in states:
            watchers.tell(job)

    async def run():
        with watchers.watching("a") as watcher:
            thread = threading.Thread(target=tell_all)
            thread.start()
            thread.join()  # the loop stands still meanwhile
            waiting = len(asyncio.get_running_loop()._ready)
            return waiting, await watcher.newer(states[0])

    waiting, newest = asyncio.run(run())
    assert waiting <= 1
    assert newest is states[-1]


def test_a_state_that_was_seen_is_not_shown_again():
    watchers, job = Watchers(), Job("a", "work", {}, 0.0)

    async def run():
        with watchers.watching("a") as watcher:
            watchers.tell(job)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watcher.newer(job), 0.2)

    asyncio.run(run())


def test_a_watcher_is_shown_the_last_report_before_a_silence(open_jobs):
    silent, go = threading.Event(), threading.Event()

    def work(arguments, job):
        with progress.task("busy", 9) as advance:
            for _ in range(9):
                advance(1)
            silent.set()
            go.wait(10)
        return {}

    jobs = open_jobs(silent=work)

    async def run():
        seen = []
        watch = asyncio.ensure_future(collect(jobs, jobs.submit("silent", {}).id, seen=seen))
        await asyncio.to_thread(silent.wait, 10)
        while not (seen and seen[-1].progress and seen[-1].progress.done == 9):
            await asyncio.sleep(0.002)
        go.set()
        await watch

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_watch_ends_where_it_is_left_cancelled_or_dismissed(jobs, workshop):
    job = jobs.submit("work", {"name": "a"})
    workshop.wait_for("a")

    async def run():
        async with aclosing(jobs.watch(job.id)) as states:
            assert (await anext(states)).state == "running"
            assert len(jobs._watchers) == 1
        assert len(jobs._watchers) == 0
        watch = asyncio.ensure_future(collect(jobs, job.id))
        await asyncio.sleep(0.02)
        watch.cancel()
        await asyncio.wait([watch])
        assert len(jobs._watchers) == 0
        watch = asyncio.ensure_future(collect(jobs, job.id))
        await asyncio.sleep(0.02)
        jobs.dismiss_watchers()
        assert [each.state for each in await watch] == ["running"] * len(watch.result())
        assert [each.state for each in await collect(jobs, job.id)] == ["running"]
        with pytest.raises(UnknownJob):
            await collect(jobs, "other")
        assert len(jobs._watchers) == 0

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_loop_that_ended_does_not_disturb_the_work(jobs, workshop, until):
    job = jobs.submit("work", {"name": "a"})
    loop = asyncio.new_event_loop()
    states = jobs.watch(job.id)
    loop.run_until_complete(anext(states))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()  # the watch was never ended
    workshop.items = 5
    workshop.end("a")
    assert until(jobs, job.id).state == "done"
    with pytest.raises(StopIteration):
        states.aclose().send(None)
    assert len(jobs._watchers) == 0
