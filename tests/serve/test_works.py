"""Work that has begun is done to its end, though nobody waits for it any more."""

import asyncio

import pytest

from anmok.serve import works as room
from anmok.serve.works import Works


def test_work_goes_on_when_the_caller_leaves_and_holds_its_lock_until_it_is_done():
    async def ask():
        works, lock, done, go = Works(), asyncio.Lock(), [], asyncio.Event()

        async def work():
            async with lock:
                await go.wait()
                done.append(1)

        caller = asyncio.create_task(works.finish(work()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert lock.locked() and not done
        go.set()
        await works.settle()
        assert done == [1] and not lock.locked()

    asyncio.run(ask())


def test_an_answer_and_an_error_reach_the_caller_and_an_error_without_one_reaches_nobody():
    async def ask():
        works, told = Works(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        async def fails():
            await asyncio.sleep(0)
            raise ValueError("inside")

        assert await works.finish(asyncio.sleep(0, 7)) == 7
        with pytest.raises(ValueError, match="inside"):
            await works.finish(fails())
        works.begin(fails())
        await works.settle()
        return told

    assert asyncio.run(ask()) == []


def test_a_stop_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(room, "PATIENCE", 0.05)

    async def ask():
        works = Works()
        task = works.begin(asyncio.sleep(30))
        await works.settle()
        assert not task.done()
        task.cancel()

    asyncio.run(asyncio.wait_for(ask(), 5))
