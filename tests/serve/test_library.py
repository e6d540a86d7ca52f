"""What a service keeps, attacked: links that lead out, names that are none, others that delete or leave meanwhile."""

import asyncio
import gc
import json
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx2 as httpx
import pytest

from anmok.collections import Collection
from anmok.loading import load
from anmok.serve import library as room
from anmok.serve.names import upload_file

from .serving import base64_of, picture, pictures, until

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of pictures, links that lead out of it, and names that are no text."""
    folder = tmp_path_factory.mktemp("roots") / "photos"
    (folder / "bags").mkdir(parents=True)
    for seed in range(3):
        (folder / "bags" / f"{seed}.png").write_bytes(picture(seed))
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(picture(99))
    (folder / "bags" / "link.png").symlink_to(outside / "secret.png")
    (folder / "bags" / "loop").symlink_to(folder / "bags" / "loop")
    (folder / "away").symlink_to(outside)
    (folder / "photos-evil").mkdir()
    (folder.parent / "photos-evil").mkdir()
    os.mkdir(os.fsencode(folder) + b"/\xff")  # noqa: PTH102
    (folder / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe.png")).write_bytes(picture(50))
    return folder


@pytest.fixture(scope="module")
def served(serve, root):
    return serve(roots=(root,), pictures=16)


@pytest.fixture
def api(served):
    with httpx.Client(base_url=served.address, timeout=60) as client:
        yield client


@pytest.fixture
def shop(api, request):
    """A new collection, by its path."""
    name = request.node.name[:40].replace("[", "-").replace("]", "")
    assert api.post("/v1/collections", json={"name": name}).status_code == 201
    yield f"/v1/collections/{name}"
    api.delete(f"/v1/collections/{name}")


def put(api, shop, *ids, seed=0, method="PUT", **more):
    rows = [{"id": number, "picture": base64_of(picture(seed + i)), **more} for i, number in enumerate(ids)]
    answer = api.request(method, f"{shop}/pictures", json={"pictures": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()


def index(api, shop, folder):
    job = api.post(f"{shop}/folders", json={"folder": folder})
    assert job.status_code == 202, job.text
    until(lambda: api.get(f"/v1/jobs/{job.json()['id']}").json()["state"] not in ("queued", "running"), 30)
    done = api.get(f"/v1/jobs/{job.json()['id']}").json()
    assert done["state"] == "done", done
    return done["result"]


# --- nothing outside


ESCAPES = [
    "/etc/passwd",
    "../keys.json",
    "../../keys.json",
    "photos/../outside/secret.png",
    "photos/away/secret.png",
    "photos/bags/link.png",
    "photos/bags/loop",
    "photos//etc/passwd",
    "photos/bags/../../outside/secret.png",
    "photos/%2e%2e/outside/secret.png",
    "photos-evil/x",
    "photos/bags/0.png\x00",
    "\x00",
    "photos",
    "",
    "x" * 5000,
    "photos/" + "a/" * 2000,
    "..",
    "C:\\windows\\win.ini",
    "\\\\server\\share",
]


def test_no_name_of_a_picture_leads_out(api, shop, root):
    index(api, shop, "photos/bags")
    put(api, shop, "mine")
    for number in [*ESCAPES, str(root / "bags" / "0.png"), str(root.parent / "outside" / "secret.png")]:
        for what in ("file", "thumbnail"):
            answer = api.get(f"{shop}/{what}", params={"id": number})
            assert answer.status_code == 404, (what, number)
            assert str(root.parent) not in answer.json()["error"]["message"].replace(number, "")
        stored = {"collection": shop.rsplit("/", 1)[1], "id": number}
        (result,) = api.post("/v1/embed", json={"pictures": [stored]}).json()["results"]
        assert result["error"]["code"] == "not_found", number
    assert api.get(f"{shop}/file", params={"id": "photos/bags/0.png"}).content == picture(0)


def test_no_name_of_a_folder_leads_out(api, shop):
    for name in ["photos/away", "photos/..", "photos/../outside", "/", "//", "photos/\x00", *ESCAPES]:
        if name in ("photos", ""):
            continue
        assert api.post(f"{shop}/folders", json={"folder": name}).status_code in (404, 422), name
        if name.strip("/"):
            assert api.get("/v1/folders", params={"path": name}).status_code == 404, name
    assert "away" not in api.get("/v1/folders?path=photos").text


def test_a_file_that_becomes_a_link_to_the_outside_is_shown_no_more(api, shop, root):
    inner = root / "swapped"
    inner.mkdir()
    (inner / "0.png").write_bytes(picture(70))
    (inner / "1.png").write_bytes(picture(71))
    index(api, shop, "photos/swapped")
    assert api.get(f"{shop}/file", params={"id": "photos/swapped/0.png"}).status_code == 200
    for swap in (
        lambda file: file.symlink_to(root.parent / "outside" / "secret.png"),
        lambda file: file.mkdir(),
        lambda file: os.mkfifo(file),
        lambda file: file.symlink_to("/proc/self/environ"),
    ):
        file = inner / "0.png"
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
        swap(file)
        for what in ("file", "thumbnail"):
            assert api.get(f"{shop}/{what}", params={"id": "photos/swapped/0.png"}).status_code == 404
        body = {"pictures": [{"collection": shop.rsplit("/", 1)[1], "id": f"photos/swapped/{i}.png"} for i in range(2)]}
        bad, good = api.post("/v1/embed", json=body).json()["results"]
        assert bad["error"]["code"] == "not_found" and good["embedding"]
    (inner / "0.png").unlink()


def test_names_of_files_that_are_no_text_are_listed_found_and_shown(api, shop, root):
    assert index(api, shop, "photos/\\udcff")["added"] == 1
    (listed,) = api.get(f"{shop}/pictures").json()["pictures"]
    assert api.get(f"{shop}/file", params={"id": listed["id"]}).content == picture(50)
    assert api.get(listed["thumbnail"]).status_code == 200
    name = shop.rsplit("/", 1)[1]
    assert api.post("/v1/search", json={"collection": name, "query": "a"}).json()["hits"][0]["id"] == listed["id"]
    assert "\\udcff" in [one["name"] for one in api.get("/v1/folders?path=photos").json()["folders"]]
    assert api.post(f"{shop}/pictures/delete", json={"ids": [listed["id"]]}).json() == {"deleted": 1}


def test_what_was_indexed_elsewhere_is_found_but_neither_shown_nor_named(api, served, shop, root, tiny_folder):
    path = served.settings.home / "collections" / f"{shop.rsplit('/', 1)[1]}.anmok"
    with Collection(path, encoder=load(tiny_folder, precision="fp32")) as collection:
        collection.add_folder(root.parent / "outside")
        collection.add([b"no picture"], keys=["../../memory"])
    listed = api.get(f"{shop}/pictures")
    assert listed.json()["pictures"][0]["id"] == "outside/secret.png" and str(root.parent) not in listed.text
    assert api.get(f"{shop}/file", params={"id": "outside/secret.png"}).status_code == 404
    failed = api.get(f"{shop}/failed")
    assert failed.json()["total"] == 1 and str(root.parent) not in failed.text
    assert str(root.parent) not in api.get(shop).text
    assert (
        api.post(f"{shop}/pictures/delete", json={"ids": ["outside/secret.png", "../../memory"]}).json()["deleted"] == 1
    )
    assert (root.parent / "outside" / "secret.png").exists()


# --- ids and rows


ROUND_TRIP = [
    "가게/빨강 1.jpg",
    "a/b/c.png",
    "..a",
    "a..b",
    "%2e%2e",
    "a%b",
    "🎒",
    "a'b\"c",
    "x&y=z?q#f",
    "x" * 512,
    "1:2",
    "-",
    "CON",
]


def test_ids_come_back_as_they_were_given(api, served, shop):
    for start in (0, 8):
        done = put(api, shop, *ROUND_TRIP[start : start + 8], seed=start, metadata={"tag": "odd"})
        assert [one["error"] for one in done["results"]] == [None] * len(done["results"])
    listed = api.get(f"{shop}/pictures", params={"where": json.dumps({"tag": "odd"})}).json()["pictures"]
    assert [one["id"] for one in listed] == ROUND_TRIP
    for seed, one in enumerate(listed):
        assert api.get(f"{shop}/file", params={"id": one["id"]}).content == picture(seed)
        assert api.get(one["thumbnail"]).headers["content-type"] == "image/jpeg"
    folder = served.settings.home / "uploads"
    assert all(upload_file(folder / shop.rsplit("/", 1)[1], number).is_file() for number in ROUND_TRIP)
    assert api.post(f"{shop}/pictures/delete", json={"ids": ROUND_TRIP}).json()["deleted"] == len(ROUND_TRIP)
    assert not [file for file in (folder / shop.rsplit("/", 1)[1]).rglob("*") if file.is_file()]


def test_a_picture_and_a_folder_of_one_name_and_ids_of_roots_are_refused_item_by_item(api, shop):
    done = put(api, shop, "a", "a/b", "x/y", "x", "photos/bags/0.png", "fine", "fine")
    codes = [one["error"] and one["error"]["code"] for one in done["results"]]
    assert codes == [None, "conflict", None, "conflict", "conflict", None, "conflict"]
    assert api.post(f"{shop}/pictures/delete", json={"ids": ["x/y"]}).json()["deleted"] == 1
    assert put(api, shop, "x")["added"] == 1


@pytest.mark.parametrize(
    "metadata", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": 1e400}', '{"a": NaN}', '{"a": -1e-400}']
)
def test_no_metadata_of_one_picture_breaks_the_lists_of_all(api, shop, metadata):
    put(api, shop, "good")
    row = json.dumps({"id": "odd", "picture": base64_of(picture(1))})[:-1] + f', "metadata": {metadata}}}'
    answer = api.put(f"{shop}/pictures", content=f'{{"pictures": [{row}]}}', headers=JSON)
    assert answer.status_code in (200, 422), answer.text
    name = shop.rsplit("/", 1)[1]
    for asked in (
        api.get(f"{shop}/pictures"),
        api.post("/v1/search", json={"collection": name, "query": "a"}),
        api.get(f"{shop}/duplicates"),
        api.post("/metadata", json={"ids": [0, 1, 2], "indice_name": name}),
    ):
        assert asked.status_code == 200, asked.text
    assert api.get(f"{shop}/pictures").json()["pictures"][0]["id"] == "good"


def test_the_fields_of_the_collection_itself_cannot_be_given(api, shop):
    for field in ("root", "path", "hash", "mtime_ns"):
        (result,) = put(api, shop, "a", metadata={field: "/etc"})["results"]
        assert result["error"]["code"] == "bad_request"
    assert api.get(shop).json()["pictures"] == 0


WHERE = [
    '{"a": {"$gt": 1}}',
    '{"a": {"like": "%' + "_%" * 40_000 + '"}}',
    '{"a\') OR 1=1 --": 1}',
    '{"a": {"in": []}}',
    '{"a": {"in": [[1]]}}',
    '{"a": {"prefix": 3}}',
    '{"a": 1e400}',
    '{"a": "\\ud800"}',
    '{"": ""}',
    '{"\\u0000": "\\u0000"}',
    '{"a": ' + "9" * 5000 + "}",
    "[]",
    "null",
    '"x"',
    "{",
]


@pytest.mark.parametrize("where", WHERE)
def test_hostile_filters_find_nothing_and_break_nothing(api, shop, where):
    put(api, shop, "a")
    answer = api.get(f"{shop}/pictures", params={"where": where}) if len(where) < 50_000 else None
    assert answer is None or answer.status_code == 422 or answer.json()["total"] in (0, 1)
    body = f'{{"collection": "{shop.rsplit("/", 1)[1]}", "query": "a", "where": {where}}}'
    assert api.post("/v1/search", content=body, headers=JSON).status_code in (200, 400, 422)
    deleted = api.post(f"{shop}/pictures/delete", content=f'{{"where": {where}}}', headers=JSON)
    assert deleted.status_code in (200, 400, 422) and (deleted.status_code > 200 or deleted.json()["deleted"] == 0)
    assert api.get(shop).json()["pictures"] == 1


# --- names of what is kept


@pytest.mark.parametrize("name", ["\U00010437" * 64, "가" * 64, "e\u0301" * 30, "_", "1", "a..b"])
def test_a_name_is_one_or_is_refused(api, name):
    for path in ("/v1/collections", "/v1/labels"):
        body = {"name": name} if path.endswith("s/") or "coll" in path else {"name": name, "labels": ["a"]}
        answer = api.post(path, json=body)
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            assert api.get(f"{path}/{name}").status_code == 200 and api.post(path, json=body).status_code == 409
        assert api.delete(f"{path}/{name}").status_code == (204 if answer.status_code == 201 else 422)


def test_recognisers_are_listed_by_their_whole_name(api, served):
    (served.settings.home / "recognisers" / "v1.2").mkdir()
    assert "v1.2" in api.get("/v1/recognisers").json()["errors"]
    answer = api.post("/v1/classify", json={"pictures": pictures(0), "recogniser": "v1.2"})
    assert answer.status_code == 422 and str(served.settings.home) not in answer.text
    (served.settings.home / "recognisers" / "v1.2").rmdir()


def test_an_error_of_a_damaged_collection_names_no_folder(api, served, shop):
    put(api, shop, "a")
    name = shop.rsplit("/", 1)[1]
    served.service.library.retire(name)  # as if it had just been started
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


# --- at once, and gone meanwhile


def test_of_many_that_make_the_same_one_does(api, shop):
    for path in ("/v1/collections", "/v1/labels"):
        more = [{} if path == "/v1/collections" else {"labels": [f"{i} {j}" for j in range(100)]} for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda one, path=path: api.post(path, json={"name": "once", **one}).status_code, more))
        assert sorted(made) == [201] + [409] * 7
        assert api.get(f"{path}/once").json().get("total", 100) == 100  # not those of several
        assert api.delete(f"{path}/once").status_code == 204


def test_a_label_set_that_cannot_be_made_leaves_nothing(api, served):
    twice = {"name": "broken", "labels": ["cat", "cat"]}
    assert api.post("/v1/labels", json=twice).status_code == 422
    circle = {"name": "broken", "labels": [{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}]}
    assert api.post("/v1/labels", json=circle).status_code == 422
    assert api.get("/v1/labels/broken").status_code == 404
    assert not list((served.settings.home / "labels").glob(".*"))
    assert api.post("/v1/labels", json={"name": "broken", "labels": ["cat"]}).status_code == 201
    assert api.delete("/v1/labels/broken").status_code == 204


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
    slow = room.shutil.rmtree

    def late(path, **how):
        time.sleep(0.3)
        slow(path, **how)

    monkeypatch.setattr(room.shutil, "rmtree", late)
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


@pytest.mark.filterwarnings("ignore::anmok.texts.scripts.UnsupportedScriptWarning")  # of the tiny model's tokenizer
def test_labels_change_while_others_classify_by_them(api, served):
    made = api.post("/v1/labels", json={"name": "moving", "labels": ["base", "밑"]})
    assert made.status_code == 201, made.text
    wrong, stop = [], threading.Event()

    def classify():
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while not stop.is_set():
                answer = client.post("/v1/classify", json={"pictures": pictures(0), "label_set": "moving"})
                seen = {one["label"] for one in answer.json().get("results", [{"predictions": []}])[0]["predictions"]}
                if answer.status_code != 200 or not {"base", "밑"} <= seen:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=classify) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        assert api.post("/v1/labels/moving/labels", json={"labels": [f"l{number}"]}).status_code == 200
        assert api.post("/v1/labels/moving/labels/delete", json={"names": [f"l{number}"]}).status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:2]
    assert api.get("/v1/labels/moving").json()["total"] == 2
    api.delete("/v1/labels/moving")


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


# --- models


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
    library = SimpleNamespace(_settings=SimpleNamespace(sources={"tiny": str(tiny_folder)}))
    with pytest.raises(room.ApiError) as refused:
        room.Library._model_of(library, str(wider_folder))
    assert refused.value.status == 409 and str(wider_folder.parent) not in refused.value.message


def test_a_model_that_cannot_be_loaded_is_said_to_be_so_without_where_it_lies(serve, tiny_folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    served = serve(models=(f"tiny={tiny_folder}", f"broken={broken}"))
    answer = httpx.post(f"{served.address}/v1/embed", json={"texts": ["a"], "model": "broken"})
    assert answer.status_code == 503 and str(tmp_path) not in answer.text


def test_a_model_is_loaded_once_for_all_and_to_its_end_though_the_first_who_asked_left(monkeypatch, tmp_path):
    from anmok.serve import models as models_room
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.works import Works

    loads, go = [], threading.Event()

    def loading(source, precision):
        loads.append(source)
        go.wait(5)
        return object()

    async def ask():
        settings = ServiceSettings(home=tmp_path, models=("m",))
        models = models_room.Models(settings, None, None, Works())
        models.of = lambda name, encoder: SimpleNamespace(
            name=name, encoder=encoder, megabytes=1, users=0, used=0.0, close=lambda: None
        )
        first = asyncio.create_task(models._get("m"))
        await asyncio.sleep(0.05)
        first.cancel()
        others = [asyncio.create_task(models._get("m")) for _ in range(3)]
        await asyncio.sleep(0.05)
        go.set()
        assert len({id(model) for model in await asyncio.gather(*others)}) == 1

    monkeypatch.setattr(models_room, "load", loading)
    asyncio.run(ask())
    assert loads == ["m"]
