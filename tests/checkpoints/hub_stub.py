"""A stand-in for the hub: enough of its API for huggingface_hub to list and fetch one repository."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `folder` as repository `name`. `requests` lists (method, path, authorization) of what was asked."""

    def __init__(self, name: str, folder: Path, *, status: int | None = None) -> None:
        self.requests: list[tuple[str, str, str | None]] = []
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def log_message(self, *_) -> None:
                pass

            def _answer(self, *, body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append((self.command, path, self.headers.get("Authorization")))
                if status is not None:
                    self._send(status, b"{}", "application/json", body)
                elif path.startswith(f"/api/models/{name}/tree/"):
                    self._json([_entry(path, file) for path, file in files.items()], body)
                elif path in (f"/api/models/{name}", f"/api/models/{name}/revision/main"):
                    siblings = [{"rfilename": path} for path in files]
                    self._json({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}, body)
                elif path.startswith(f"/{name}/resolve/") and (file := files.get(path.split("/", 5)[-1])):
                    self._send(200, file.read_bytes(), "application/octet-stream", body)
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def _json(self, content: object, body: bool) -> None:
                self._send(200, json.dumps(content).encode(), "application/json", body)

            def _send(self, code: int, data: bytes, kind: str, body: bool) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body:
                    self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fetched(self) -> set[str]:
        """Names of the files that were downloaded."""
        return {path.split("/", 5)[-1] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path}


def _entry(path: str, file: Path) -> dict:
    data = file.read_bytes()
    oid = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    return {"type": "file", "path": path, "size": len(data), "oid": oid}
