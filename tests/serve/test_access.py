"""Without a key nothing is answered but what is on the list; a key does what its scopes say, and no more often."""

import json
import re
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from anmok.errors import SettingsError
from anmok.serve.access import PUBLIC
from anmok.serve.keys import Keys

from .serving import raw, status_of


@pytest.fixture(scope="module")
def closed(serve):
    return serve(keys=True, request_bytes=100_000)


def operations(served):
    schema = httpx.get(f"{served.address}/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), re.sub(r"\{[^}]*\}", "x", path), operation["operationId"]


def test_every_route_needs_a_key_but_those_on_the_list(closed):
    asked = list(operations(closed))
    assert len(asked) > 30
    for method, path, name in asked:
        answer = httpx.request(method, closed.address + path, json={})
        if name in PUBLIC:
            assert answer.status_code < 400, (method, path)
        else:
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", (method, path)
            assert "x-content-type-options" in answer.headers and "x-request-id" in answer.headers


def test_a_key_that_may_read_changes_nothing(closed):
    head = {"Authorization": f"Bearer {closed.key('reader')}"}
    verbs = ("create_c", "create_l", "add", "put", "delete", "cancel", "calibrate", "index_folder", "re_encode")
    writes = [(method, path) for method, path, name in operations(closed) if name.startswith(verbs)]
    assert len(writes) > 12
    for method, path in writes:
        assert httpx.request(method, closed.address + path, json={}, headers=head).status_code == 403, (method, path)
    assert httpx.get(f"{closed.address}/v1/status", headers=head).json()["scopes"] == ["read"]
    writer = {"X-API-Key": closed.key("writer", "read", "write")}
    made = httpx.post(f"{closed.address}/v1/collections", json={"name": "c"}, headers=writer)
    assert made.status_code == 201


def test_wrong_keys_are_wrong(closed):
    key, other = closed.key("one"), closed.key("two")
    mark, number, secret = key.split("_", 2)
    for wrong in (key[:-1], f"{mark}_{number}_{other.split('_', 2)[2]}", f"{mark}_{number}_", "x", "anmok_", f"{key}x"):
        answer = httpx.get(f"{closed.address}/v1/models", headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == 401, wrong
    assert secret not in (closed.settings.home / "keys.json").read_text()
    head = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{closed.address}/v1/models", headers=head).status_code == 200
    closed.service.access.keys.remove("one")
    assert httpx.get(f"{closed.address}/v1/models", headers=head).status_code == 401


def test_a_key_asks_no_more_often_than_it_may(closed):
    keys = closed.service.access.keys
    token, _ = keys.add("often", ("read",), rate=3)
    head = {"Authorization": f"Bearer {token}"}
    answers = [httpx.get(f"{closed.address}/v1/models", headers=head) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["error"]["code"] == "rate_limited" and 1 <= int(answers[3].headers["retry-after"]) <= 20


def test_keys_are_kept_as_hashes_that_only_the_owner_reads(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    token, key = keys.add("phone", ("read", "write"))
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert token.split("_", 2)[2] not in (tmp_path / "keys.json").read_text()
    assert Keys(tmp_path / "keys.json").find(token) == key and keys.find("anmok_x_y") is None
    assert keys.find(token.encode().decode("latin-1") + "é") is None
    with pytest.raises(SettingsError, match="already"):
        keys.add("phone")
    with pytest.raises(SettingsError, match="no scope 'admin'"):
        keys.add("x", ("admin",))
    with pytest.raises(SettingsError, match="no key named"):
        keys.remove("nobody")


# --- the door


def test_a_body_is_refused_at_the_byte_that_is_too_many(served, serve):
    small = serve(request_bytes=2000)
    port = urlsplit(small.address).port
    body = json.dumps({"texts": ["a"], "model": "x" * 3000}).encode()
    assert httpx.post(f"{small.address}/v1/embed", content=body).status_code == 413
    head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunks = b"".join(b"3e8\r\n" + b" " * 1000 + b"\r\n" for _ in range(3))
    assert (
        status_of(raw(port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", until_closed=False))
        == 413
    )
    # not one byte of what is announced as too much needs to come
    assert status_of(raw(port, head + b"Content-Length: 2001\r\n\r\n", until_closed=False)) == 413
    assert httpx.get(f"{small.address}/healthz").status_code == 200


def test_without_keys_pages_of_other_sites_may_not_ask(served):
    where = f"{served.address}/v1/collections"
    assert httpx.get(where).status_code == 200
    assert httpx.get(where, headers={"Origin": served.address}).status_code == 200
    for head in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        assert httpx.get(where, headers=head).status_code == 403, head
    body = '{"name": "planted"}'  # what a form of another site could send without asking first
    sent = httpx.post(where, content=body, headers={"Origin": "https://evil.example", "Content-Type": "text/plain"})
    assert sent.status_code == 403 and httpx.get(where).json()["collections"] == []


def test_other_sites_are_let_in_by_name_only(serve):
    shop = "https://shop.example"
    opened = serve(origins=(shop,), hosts=("anmok.example",))
    answer = httpx.get(f"{opened.address}/v1/models", headers={"Origin": shop, "Host": "anmok.example"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == shop
    other = httpx.get(f"{opened.address}/v1/models", headers={"Origin": "https://evil.example"})
    assert other.status_code == 403 and "access-control-allow-origin" not in other.headers


def test_an_error_inside_says_nothing_of_the_machine(served, monkeypatch):
    def broken():
        raise RuntimeError(f"secret of {served.settings.home}")

    monkeypatch.setattr(served.service.library.collections, "names", broken)
    answer = httpx.get(f"{served.address}/v1/collections", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "abc-1"
    assert "abc-1" in answer.json()["error"]["message"]
    assert "secret" not in answer.text and str(served.settings.home) not in answer.text


def test_a_request_that_takes_too_long_is_given_up(serve, monkeypatch):
    slow = serve(request_s=0.3)
    import asyncio

    async def wait(*_):
        await asyncio.sleep(30)

    monkeypatch.setattr(slow.service.library.collections, "found", wait)
    answer = httpx.get(f"{slow.address}/v1/collections/x")
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "timeout"


def test_routes_that_come_later_are_closed_too(tmp_path):
    """Of all routes, not only those that the OpenAPI file shows: the app itself asks for a key."""
    from starlette.testclient import TestClient

    from anmok.serve.app import create_app
    from anmok.serve.settings import ServiceSettings

    app = create_app(ServiceSettings(home=tmp_path / "home", models=("m",), keys=True, immich=True))

    @app.get("/later")
    async def later() -> str:
        return "open"

    asked = [("GET", "/later", "later")]
    for route in all_routes(app.routes):
        asked += [(method, re.sub(r"\{[^}]*\}", "x", route.path), route.name) for method in route.methods]
    names = {name for *_, name in asked}
    assert {"page", "ping", "later", "search", "predict", "create_embeddings", "watch_job", "openapi"} <= names
    client = TestClient(app)  # which does not start the service
    for method, path, name in asked:
        if name not in {*PUBLIC, "openapi"}:
            for given in ({}, {"Authorization": "Bearer anmok_x_y"}, {"X-API-Key": "키".encode()}):
                answer = client.request(method, f"http://testserver{path}", headers=given, json={})
                assert answer.status_code == 401, (method, path, name)


def all_routes(routes):
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from [route] if inner is None else all_routes(inner.routes)


def test_a_bucket_fills_again_and_each_client_has_its_own(tmp_path, monkeypatch):
    from anmok.serve import access as room

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    access = room.Access(Keys(tmp_path / "keys.json"), required=False, rate=60)
    client = room.Client("a", rate=60)
    for _ in range(60):
        access.count(client)
    with pytest.raises(room.ApiError) as refused:
        access.count(client)
    assert refused.value.status == 429 and 0 < refused.value.retry_after <= 1
    access.count(room.Client("b", rate=60))
    clock.now += refused.value.retry_after
    access.count(client)
    for number in range(room.ENTRIES + 10):
        access.count(room.Client(f"c{number}", rate=1))
    assert len(access._buckets) <= room.ENTRIES
