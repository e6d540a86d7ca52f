"""The models of a service: loaded once for all, and what is told of one that cannot be."""

import asyncio
import threading
from types import SimpleNamespace

import httpx2 as httpx


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
