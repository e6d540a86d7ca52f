"""Real services that are killed, or told to stop, while pictures are on their way.

TORTURE_ROUNDS sets how often the service is killed (a few times unless told).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2 as httpx
import pytest

import anmok
from anmok.collections import Collection
from anmok.collections.folder import content_hash
from anmok.serve.names import upload_file

from .serving import base64_of, picture, process, until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "2"))
CLIENTS = 3
IDS = 12  # that each client writes again and again


class Writer(threading.Thread):
    """A client that puts new pictures under its ids and deletes some, and knows what was acknowledged.

    `told`: id → the seed of its picture, None where it was deleted. `asked`: of the request without an answer.
    """

    def __init__(self, url, number, told, seed):
        super().__init__()
        self.url, self.number, self.chance = url, number, random.Random(seed)
        self.told, self.asked = told, {}

    def run(self):
        with suppress(httpx.TransportError), httpx.Client(base_url=self.url, timeout=30) as client:
            while True:
                ids = [f"{self.number}/{self.chance.randrange(IDS)}" for _ in range(self.chance.randrange(1, 4))]
                seeds = {one: self.chance.randrange(10**6) for one in ids}
                if self.chance.random() < 0.2:
                    self.asked = dict.fromkeys(seeds)
                    answer = client.post("/v1/collections/c/pictures/delete", json={"ids": list(seeds)})
                else:
                    self.asked = seeds
                    rows = [{"id": one, "picture": base64_of(picture(seed))} for one, seed in seeds.items()]
                    answer = client.put("/v1/collections/c/pictures", json={"pictures": rows})
                    assert not [one for one in answer.json()["results"] if one["error"]]
                assert answer.status_code == 200, answer.text
                self.told.update(self.asked)
                self.asked = {}


def require_all_that_was_told(client, told, open_ends):
    """Each acknowledged picture is there with its file; what was under way is as it was, or as it was to be."""
    listed = client.get("/v1/collections/c/pictures", params={"top": 1000}).json()["pictures"]
    there = {one["id"]: one["metadata"]["hash"] for one in listed}
    for number, seed in told.items():
        possible = {seed, *([open_ends[number]] if number in open_ends else [])}
        hashes = {None if one is None else content_hash(picture(one)) for one in possible}
        assert there.get(number) in hashes, number
    assert there.keys() <= told.keys() | open_ends.keys()
    for number, known in there.items():
        answer = client.get("/v1/collections/c/file", params={"id": number})
        assert answer.status_code == 200 and content_hash(answer.content) == known, number
    return {number: next(seed for seed in (told.get(number), open_ends.get(number)) if of(seed) == known)
            for number, known in there.items()}  # fmt: skip


def of(seed):
    return None if seed is None else content_hash(picture(seed))


def require_sound(home, encoder, there):
    """On disk: files and rows of one another, each row's vector that of its file, nothing beside them."""
    folder = home / "uploads" / "c"
    with Collection(home / "collections" / "c.anmok", encoder=encoder) as collection:
        assert collection.check().problems == ()
        assert set(collection.keys()) == set(there)
        items = collection.get(list(there))
        if there:
            vectors = encoder.encode_image([picture(seed) for seed in there.values()]).vectors
            for item, vector in zip(items, vectors, strict=True):
                assert abs(float(item.vector @ vector) - 1) < 1e-3, item.key
    files = {file for file in folder.rglob("*") if file.is_file()}
    assert files == {upload_file(folder, number) for number in there}


def test_what_was_acknowledged_survives_kill_9(tmp_path, tiny_folder):
    home, chance, told = tmp_path / "home", random.Random(ROUNDS), {}
    encoder = anmok.load(tiny_folder, precision="fp32")
    open_ends: dict[str, int | None] = {}
    written = 0
    for round_ in range(ROUNDS + 1):
        with process(home, tiny_folder) as service:
            with httpx.Client(base_url=service.url, timeout=30) as client:
                if round_ == 0:
                    assert client.post("/v1/collections", json={"name": "c"}).status_code == 201
                there = require_all_that_was_told(client, told, open_ends)
                told, open_ends = dict(there), {}
            if round_ == ROUNDS:
                service.signal(signal.SIGTERM)
                assert service.wait() == 0, service.log
                break
            mine = [{one: seed for one, seed in told.items() if one.startswith(f"{i}/")} for i in range(CLIENTS)]
            writers = [Writer(service.url, i, mine[i], chance.random()) for i in range(CLIENTS)]
            for writer in writers:
                writer.start()
            time.sleep(0.3 + chance.random())
            service.signal(signal.SIGKILL)
            assert service.wait() == -signal.SIGKILL
            for writer in writers:
                writer.join()
                told |= writer.told
                open_ends |= writer.asked
            written += sum(len(writer.told) for writer in writers)
    assert written > ROUNDS
    require_sound(home, encoder, there)


def test_a_label_set_that_was_being_made_is_whole_or_not_there(tmp_path, tiny_folder):
    home, chance = tmp_path / "home", random.Random(7)
    labels = [f"label {i}" for i in range(400)]
    for _ in range(max(2, ROUNDS // 3)):
        with process(home, tiny_folder) as service, ThreadPoolExecutor(1) as pool:
            body = {"name": "l", "labels": labels, "templates": "none"}
            making = pool.submit(httpx.post, f"{service.url}/v1/labels", json=body, timeout=30)
            time.sleep(chance.random() * 0.4)
            service.signal(signal.SIGKILL)
            service.wait()
            with suppress(httpx.TransportError):
                assert making.result().status_code == 201
        with process(home, tiny_folder) as service:
            answer = httpx.get(f"{service.url}/v1/labels/l")
            assert answer.status_code == 404 or answer.json()["total"] == 400
            assert not list((home / "labels").glob(".*"))
            if answer.status_code == 200:
                httpx.delete(f"{service.url}/v1/labels/l")


def test_sigterm_finishes_what_was_accepted_and_takes_no_more(tmp_path, tiny_folder):
    home = tmp_path / "home"
    with process(home, tiny_folder, options=["--waiting", "5000"]) as service:
        httpx.post(f"{service.url}/v1/collections", json={"name": "c"})
        begun = threading.Barrier(9)

        def ask(number):
            rows = [{"id": f"{number}/{i}", "picture": base64_of(picture(100 * number + i))} for i in range(40)]
            with httpx.Client(base_url=service.url, timeout=60) as client:
                client.get("/healthz")  # connected
                begun.wait()
                answer = client.put("/v1/collections/c/pictures", json={"pictures": rows})
                return answer.status_code, answer.json()["added"]

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, number) for number in range(8)]
            begun.wait()
            time.sleep(0.3)  # all are accepted, most wait
            start = time.monotonic()
            service.signal(signal.SIGTERM)
            done = [one.result() for one in asked]
        assert done == [(200, 40)] * 8
        assert service.wait() == 0 and time.monotonic() - start < 30, service.log
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/healthz")
        assert not [line for line in service.log if "Traceback" in line], service.log
    with process(home, tiny_folder) as service:
        assert httpx.get(f"{service.url}/v1/collections/c").json()["pictures"] == 320


def test_a_service_that_cannot_start_says_why_and_leaves_nothing_running(tmp_path, tiny_folder):
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(AssertionError) as failed, process(tmp_path / "home", broken):
        pass
    assert "Traceback" not in str(failed.value) and "broken" in str(failed.value)
    with process(tmp_path / "home", tiny_folder):
        with pytest.raises(AssertionError, match="another process") as failed, process(tmp_path / "home", tiny_folder):
            pass
        assert "Traceback" not in str(failed.value)


def test_decoders_end_with_a_service_that_is_killed(tmp_path, tiny_folder):
    with process(tmp_path / "home", tiny_folder) as service:
        children = [int(one) for one in children_of(service.pid)]
        assert children
        service.signal(signal.SIGKILL)
        service.wait()
        until(lambda: not [child for child in children if alive(child)], 20)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
        return file.read().split()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
