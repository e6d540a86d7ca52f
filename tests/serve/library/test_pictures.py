"""Pictures of collections, attacked: links that lead out, ids hard to carry, metadata and filters that break."""

import json
import os

import pytest

from anmok.collections import Collection
from anmok.loading import load
from anmok.serve.names import upload_file

from ..serving import base64_of, picture
from .keeping import ESCAPES, JSON, index, put

# --- nothing outside


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


def nested(levels):
    return {"a": nested(levels - 1)} if levels > 1 else {}


def test_metadata_that_is_too_large_or_too_deep_is_an_error_of_its_picture(api, served, shop):
    most = served.settings.metadata_bytes
    assert len(json.dumps({"a": ""})) == 9
    kinds = [{"a": "x" * (most - 9)}, {"a": "x" * (most - 8)}, {"a": "한" * (most // 3)}, nested(16), nested(17)]
    kinds += [{"a": [[[{}]]] * 1000}, {"a": [nested(15)]}]
    rows = [{"id": str(i), "picture": base64_of(picture(i)), "metadata": one} for i, one in enumerate(kinds)]
    results = api.post(f"{shop}/pictures", json={"pictures": rows}).json()["results"]
    codes = [one["error"] and one["error"]["code"] for one in results]
    assert codes == [None, "too_large", "too_large", None, "bad_request", None, "bad_request"]
    assert "at most 65,536" in results[1]["error"]["message"] and "16 levels" in results[4]["error"]["message"]
    assert api.get(shop).json()["pictures"] == 3


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
