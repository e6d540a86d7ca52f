"""The process that listens."""

import asyncio
import socket

import pytest

from anmok.errors import SettingsError
from anmok.serve.run import _listen
from anmok.serve.settings import ServiceSettings


def test_answers_go_out_at_once(tmp_path):
    """Without TCP_NODELAY the body of an answer waits until the client has acknowledged its head: 40 ms each."""
    told = []

    async def answer(_, writer):
        told.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask():
        with _listen(ServiceSettings(home=tmp_path, port=0)) as listening:
            server = await asyncio.start_server(answer, sock=listening)
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            await reader.read()
            writer.close()
            server.close()

    asyncio.run(asyncio.wait_for(ask(), 10))
    assert told and all(told)


def test_a_port_that_is_taken_is_named(tmp_path):
    with _listen(ServiceSettings(home=tmp_path, port=0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port}: .* give another --port"):
            _listen(ServiceSettings(home=tmp_path, port=port))
