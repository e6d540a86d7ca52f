"""What is open: so many at most, made once, and let go with its model."""

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx2 as httpx
import pytest

from anmok.serve.library.open_things import OpenThings
from anmok.serve.problems import ApiError
from anmok.serve.works import Works

from ..serving import pictures, until
from .keeping import put


def test_of_many_that_make_the_same_one_does(api, shop):
    for path in ("/v1/collections", "/v1/labels"):
        more = [{} if path == "/v1/collections" else {"labels": [f"{i} {j}" for j in range(100)]} for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda one, path=path: api.post(path, json={"name": "once", **one}).status_code, more))
        assert sorted(made) == [201] + [409] * 7
        assert api.get(f"{path}/once").json().get("total", 100) == 100  # not those of several
        assert api.delete(f"{path}/once").status_code == 204


def test_of_two_models_the_unused_one_leaves_the_memory_with_all_that_held_it(serve, tiny_folder, wider_folder):
    served = serve(models=(f"tiny={tiny_folder}", f"wider={wider_folder}"), model_mb=1)
    with httpx.Client(base_url=served.address, timeout=60) as api:
        api.post("/v1/collections", json={"name": "c", "model": "tiny"})
        put(api, "/v1/collections/c", "a")
        api.post("/v1/search", json={"collection": "c", "query": "a"})
        api.post("/v1/labels", json={"name": "l", "labels": ["a", "b"], "model": "tiny"})
        for body in ({"label_set": "l"}, {"labels": ["a", "b"]}):
            assert api.post("/v1/classify", json={"pictures": pictures(0), **body}).status_code == 200
        (model,) = served.service.models.loaded
        gone = weakref.ref(model.encoder)
        del model
        assert api.post("/v1/embed", json={"texts": ["a"], "model": "wider"}).json()["dimension"] == 64
        assert [one.name for one in served.service.models.loaded] == ["wider"]
        until(lambda: gc.collect() >= 0 and gone() is None, 10)
        for body in ({"label_set": "l"}, {"labels": ["a", "b"]}):  # and it comes back when it is asked for
            assert api.post("/v1/classify", json={"pictures": pictures(0), **body}).json()["model"] == "tiny"
        assert api.get("/v1/collections/c").json()["pictures"] == 1
        with ThreadPoolExecutor(8) as pool:  # to and fro, each answered by the model that was asked for
            names = ["tiny", "wider"] * 12
            asked = pool.map(lambda name: api.post("/v1/embed", json={"texts": ["a"], "model": name}), names)
            assert [answer.json()["dimension"] for answer in asked] == [24, 64] * 12


def test_what_another_model_made_is_a_conflict_and_no_model_is_not_found(serve, wider_folder, served, tiny_folder):
    home = served.settings.home.parent / "moved"
    first = serve(home=home, models=(f"tiny={tiny_folder}", f"wider={wider_folder}"))
    for path, more in (("collections", {}), ("labels", {"labels": ["a"]})):
        made = httpx.post(f"{first.address}/v1/{path}", json={"name": "w", "model": "wider", **more}, timeout=60)
        assert made.status_code == 201
        answer = httpx.post(f"{first.address}/v1/{path}", json={"name": "n", "model": "nope", **more})
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    opened = OpenThings(SimpleNamespace(sources={"tiny": str(tiny_folder)}, kept_open=1), None, None)
    with pytest.raises(ApiError) as refused:
        opened.model_of(str(wider_folder))
    assert refused.value.status == 409 and str(wider_folder.parent) not in refused.value.message


# --- how many


class Thing:
    closed = False

    def close(self):
        self.closed = True


def test_of_what_nobody_uses_the_longest_unused_is_closed(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    a, b, c, d = folders

    async def ask():
        things = OpenThings(SimpleNamespace(sources={}, kept_open=2), None, Works())

        async def use(folder):
            async with things.use(folder, None, Thing) as opened:
                return opened.thing

        async with things.use(a, None, Thing) as held:
            first, second = await use(b), await use(c)
            assert first.closed and not second.closed  # b was used before c
            async with things.use(b, None, Thing) as again, things.use(d, None, Thing) as more:
                assert again.thing is not first and second.closed
                assert not (held.thing.closed or again.thing.closed or more.thing.closed)  # three, all of them in use
            assert [again.thing.closed, more.thing.closed] == [False, True]  # d was let go while there were too many
        assert not held.thing.closed and await use(b) is again.thing
        things.close()
        assert held.thing.closed and again.thing.closed

    asyncio.run(ask())


def test_more_collections_than_stay_open_are_all_answered_for(serve):
    served = serve(kept_open=2)
    with httpx.Client(base_url=served.address, timeout=60) as api:
        for number in range(5):
            api.post("/v1/collections", json={"name": f"c{number}"})
            put(api, f"/v1/collections/c{number}", "a", seed=number)
        with ThreadPoolExecutor(5) as pool:
            asked = [number % 5 for number in range(20)]
            found = pool.map(lambda number: api.get(f"/v1/collections/c{number}/pictures").json()["total"], asked)
            assert list(found) == [1] * 20
        until(lambda: len(served.service.library._open._open) <= 2)
