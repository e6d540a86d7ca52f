"""Collections, attacked: damaged, deleted under others, and written to by clients that leave."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from anmok import progress
from anmok.collections import Collection
from anmok.serve.library import open_things

from ..serving import base64_of, picture, until
from .keeping import put


def test_an_error_of_a_damaged_collection_names_no_folder(api, served, shop):
    put(api, shop, "a")
    name = shop.rsplit("/", 1)[1]
    served.service.library.collections.retire(name)  # as if it had just been started
    file = served.settings.home / "collections" / f"{name}.anmok" / "store.sqlite"
    for log in file.parent.glob("store.sqlite-*"):
        log.unlink()
    file.write_bytes(b"nonsense" * 1000)
    for answer in (
        api.get(shop),
        api.get("/v1/collections"),
        api.post("/v1/embed", json={"pictures": [{"collection": name, "id": "a"}]}),
        api.get(f"{shop}/pictures"),
    ):
        assert str(served.settings.home) not in answer.text and ".sqlite" not in answer.text
    assert name in api.get("/v1/collections").json()["errors"]


def test_what_is_deleted_while_others_use_it_is_gone_and_they_are_told(api, served):
    path = "/v1/collections/busy"
    wrong, stop = [], threading.Event()
    allowed = {200, 404, 409, 503}

    def use(number):
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while not stop.is_set():
                row = {"pictures": [{"id": f"{number}", "picture": base64_of(picture(number))}]}
                for answer in (
                    client.put(f"{path}/pictures", json=row),
                    client.post("/v1/search", json={"collection": "busy", "query": "a"}),
                    client.get(f"{path}/file", params={"id": f"{number}"}),
                    client.get("/v1/collections"),
                ):
                    if answer.status_code not in allowed:
                        wrong.append((answer.status_code, answer.text))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        assert api.post("/v1/collections", json={"name": "busy"}).status_code == 201
        time.sleep(0.15)
        assert api.delete(path).status_code == 204
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert api.get(path).status_code == 404 and not (served.settings.home / "uploads" / "busy").exists()
    assert not list((served.settings.home / "collections").glob(".*"))


def test_a_picture_that_was_taken_into_a_new_collection_outlives_the_deletion_of_the_old_one(api, monkeypatch):
    slow = open_things.shutil.rmtree

    def late(path, **how):
        time.sleep(0.3)
        slow(path, **how)

    monkeypatch.setattr(open_things.shutil, "rmtree", late)
    path = "/v1/collections/again"
    api.post("/v1/collections", json={"name": "again"})
    put(api, path, "a")
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(api.delete, path)
        until(lambda: api.get(path).status_code == 404)
        assert api.post("/v1/collections", json={"name": "again"}).status_code == 201
        put(api, path, "a", seed=7)
        assert deleting.result().status_code == 204
    assert api.get(f"{path}/file", params={"id": "a"}).content == picture(7)
    monkeypatch.undo()
    api.delete(path)


def test_what_a_job_works_on_is_not_deleted_under_it(api, served, shop, root, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(
        "anmok.serve.job_kinds.index_folder", lambda *_, **__: {"waited": go.wait(20), "failed": [], "failed_count": 0}
    )
    job = api.post(f"{shop}/folders", json={"folder": "photos/bags"}).json()
    refused = api.delete(shop)
    go.set()
    assert refused.status_code == 409 and job["id"] in refused.json()["error"]["message"]
    until(lambda: api.get(f"/v1/jobs/{job['id']}").json()["state"] == "done")
    assert api.delete(shop).status_code == 204


def test_a_write_is_finished_though_its_client_leaves(api, served, shop, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    upsert = Collection.upsert

    def held(*args, **how):
        begun.set()
        go.wait(10)
        return upsert(*args, **how)

    monkeypatch.setattr(Collection, "upsert", held)
    row = {"pictures": [{"id": "left", "picture": base64_of(picture(0))}]}
    with pytest.raises(httpx.TimeoutException):
        httpx.put(f"{served.address}{shop}/pictures", json=row, timeout=httpx.Timeout(20, read=0.5))
    assert begun.is_set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(put, api, shop, "left", seed=1)  # one after the other, though the first client is gone
        time.sleep(0.3)
        assert not waiting.done()
        go.set()
        assert waiting.result()["changed"] == 1
    assert api.get(f"{shop}/file", params={"id": "left"}).content == picture(1)


def test_one_search_for_duplicates_at_a_time_which_ends_when_its_client_leaves(api, served, shop, monkeypatch):
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def endless(*_, **__):
        try:
            with progress.task("comparing") as advance:
                begun.set()
                while not go.wait(0.01):
                    advance(0)
        finally:
            ended.set()
        return []

    monkeypatch.setattr(Collection, "near_duplicates", endless)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.get, f"{served.address}{shop}/duplicates", timeout=httpx.Timeout(20, read=1))
        assert begun.wait(5)
        refused = api.get(f"{shop}/duplicates")
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert not ended.is_set()
        with pytest.raises(httpx.TimeoutException):
            first.result()
    assert ended.wait(2)
    go.set()
    until(lambda: api.get(f"{shop}/duplicates").status_code == 200)


def test_a_search_that_would_find_too_many_pairs_says_so(api, shop, monkeypatch):
    monkeypatch.setattr("anmok.serve.routes.collections.MOST_PAIRS", 2)
    put(api, shop, "a", "b", "c")
    refused = api.get(f"{shop}/duplicates", params={"threshold": 0.5})
    assert refused.status_code == 422 and "higher threshold" in refused.json()["error"]["message"]
