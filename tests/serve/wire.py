"""A small internet on this machine: servers that count who connects, names that lead where a test says, and a wire
that carries what is sent to a public address to one of the servers. The checks in between are the real ones."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1::1"


class Server(socketserver.ThreadingTCPServer):
    """Answers each path by a function of (socket, request). Counts connections, with or without a request."""

    daemon_threads = False  # so that closing the server waits for all that it began
    request_queue_size = 64

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.tls = tls
        self.answers = {}
        self.connections = 0
        self.requests = []
        self.closing = threading.Event()


class _Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.connections += 1
        self.request.settimeout(5)
        with suppress(OSError):  # clients that go away are what is tested
            if self.server.tls is None:
                self.answer(self.request)
            else:
                with self.server.tls.wrap_socket(self.request, server_side=True) as channel:
                    self.answer(channel)

    def answer(self, channel):
        received = b""
        while b"\r\n\r\n" not in received:
            part = channel.recv(65536)
            if not part:
                return
            received += part
        self.server.requests.append(received.decode())
        path = received.split(b" ")[1].decode()
        answer = self.server.answers[path]
        if callable(answer):
            answer(channel, self.server.closing)
        else:
            channel.sendall(answer)


@contextmanager
def serving(tls=None):
    """A server that runs."""
    with Server(tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def ok(body=b"", *headers):
    """An answer that holds a body."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


def redirect(location, status=302):
    """An answer that leads elsewhere."""
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


class Wire:
    """What names lead to, and where public addresses are on this machine."""

    def __init__(self, monkeypatch):
        self.names = {}  # name → addresses; or → a list of them, one for each time that it is asked for
        self.places = {}  # (public address, port) → port on this machine
        self.connected = []  # every address that a connection was asked for
        self.asked = []  # every name that was looked up
        self._look_up, self._connect = socket.getaddrinfo, asyncio.open_connection
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)
        monkeypatch.setattr(asyncio, "open_connection", self.connect)

    def look_up(self, host, port, *args, **kwargs):
        """As the system: names of this test, and numbers in every spelling that the system takes; no name server."""
        self.asked.append(host)
        known = self.names.get(host)
        if callable(known):
            known = known()
        addresses = [host] if known is None else known
        found = []
        for address in addresses:
            found += self._look_up(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return found

    async def connect(self, host, port, **kwargs):
        """To a public address: by the wire. To any other: as it stands, so that a server here would count it."""
        self.connected.append(host)
        place = self.places.get((host, port))
        if place == "silence":
            await asyncio.sleep(60)
        if place is not None:
            host, port = "127.0.0.1", place
        return await self._connect(host, port, **kwargs)
