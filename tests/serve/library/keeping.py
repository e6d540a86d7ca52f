"""Names that lead out, and pictures put into collections and indexed in them."""

from __future__ import annotations

from ..serving import base64_of, picture, until

JSON = {"Content-Type": "application/json"}

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
