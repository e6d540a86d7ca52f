"""Towers are measured in quiet moments, by a process that requests do not wait for; what runs how is told."""

import asyncio
import logging
import subprocess
import time
from contextlib import ExitStack
from types import SimpleNamespace

import httpx2 as httpx
import pytest

from anmok.runtime import choice as choosing
from anmok.runtime import towers
from anmok.runtime.choice import Choice, Way
from anmok.runtime.fidelity import Certificate
from anmok.serve import settling
from anmok.serve.measurer import measure
from anmok.serve.settings import ServiceSettings
from anmok.settings import settings

from .conftest import running
from .serving import base64_of, picture, until

INT8 = Way("onnxruntime", "int8")
NEAR = Choice(INT8, Certificate(0.9995, 0.998, 1.0, 40, 40), {str(INT8): 1.7}, {}, 0.9999)


@pytest.fixture(autouse=True)
def _auto(monkeypatch, tmp_path):
    monkeypatch.setenv("ANMOK_PRECISION", "auto")
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "anmok"))


@pytest.fixture
def serve(tmp_path):
    """As elsewhere, but each service ends with its test: those of others would look for quiet moments too."""
    with ExitStack() as ends:

        def start(**wanted):
            usual = {"home": tmp_path / "service", "decoders": 1, "port": 0}
            return ends.enter_context(running(ServiceSettings(**usual, **wanted)))

        yield start


@pytest.fixture
def impatient(monkeypatch):
    """Any tower is due at once, and every moment is quiet."""
    monkeypatch.setattr(towers, "PATIENCE", 0.0)
    monkeypatch.setattr(settling, "QUIET_S", 0.0)
    monkeypatch.setattr(settling, "LOOK_S", 0.01)


def runs(client, tower="image"):
    return client.get("/v1/status").json()["models"][0][tower]


# --- a real measurement


@pytest.mark.usefixtures("impatient")
def test_a_service_finds_out_how_its_model_runs_best_while_it_answers(serve, wider_folder, monkeypatch):
    monkeypatch.setattr(choosing, "choose", None)  # whoever measures in this process fails
    monkeypatch.setattr(settling, "TOWERS", ("text",))  # one is enough to see
    served = serve(models=(f"wider={wider_folder}",), precision="auto")
    body = {"texts": ["a bag"]}
    with httpx.Client(base_url=served.address, timeout=30) as client:
        assert client.post("/v1/embed", json=body).status_code == 200
        until(lambda: runs(client, "text")["settled"], 60)
        assert client.post("/v1/embed", json=body).status_code == 200
        told = runs(client, "text")
        metrics = client.get("/metrics").text
    assert [file.name for file in (settings().home / "towers").glob("*/*.json")] == ["text.json"]
    assert (told["fidelity"] is None) == (told["runs"] == "onnxruntime fp32")
    assert 'anmok_tower_settled{model="wider",tower="text"} 1.0' in metrics


def test_the_process_keeps_what_it_found_where_others_look(tiny_folder, monkeypatch):
    calls = []
    monkeypatch.setattr("anmok.serve.measurer.choose", lambda *what: calls.append(what[1:]))
    measure(str(tiny_folder), "text")
    assert calls == [("text", settings().threads)]
    monkeypatch.setattr("anmok.serve.measurer.known_choice", lambda *what: NEAR)
    measure(str(tiny_folder), "text")
    assert len(calls) == 1


# --- when


class Encoder:
    """Due until it is settled."""

    name = "no-such-checkpoint"

    def __init__(self):
        self.settled = []

    def due(self, tower):
        return tower == "text" and not self.settled

    def settle(self, tower, *, measure):
        self.settled.append((tower, measure))

    def runs(self, tower):
        return "onnxruntime fp32"


@pytest.fixture
def model():
    return SimpleNamespace(name="m", encoder=Encoder(), busy=False)


def looked_after(model, steps):
    """Run steps, which are given the Settling, while it looks after a model."""

    async def run():
        one = settling.Settling(lambda: [model])
        one.begin()
        try:
            await steps(one)
        finally:
            one.close()

    asyncio.run(run())


async def settled(model):
    deadline = time.monotonic() + 20
    while not model.encoder.settled:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("impatient")
def test_only_while_nobody_uses_a_model(model, monkeypatch):
    started = []
    instead_of_popen(monkeypatch, lambda command, **how: started.append(command) or Done())
    monkeypatch.setattr(settling, "QUIET_S", 0.2)

    async def steps(one):
        model.busy = True
        await asyncio.sleep(0.25)
        assert not started
        model.busy = False
        stirred = time.monotonic()
        one.stir()
        await settled(model)
        assert time.monotonic() - stirred >= 0.2

    looked_after(model, steps)
    assert [command[-2:] for command in started] == [["no-such-checkpoint", "text"]]
    assert model.encoder.settled == [("text", False)]


def instead_of_popen(monkeypatch, popen):
    """There alone: decoders are processes, too."""
    monkeypatch.setattr(settling, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": popen}))


class Done:
    returncode = 0

    def communicate(self):
        return None, b""


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_measured_is_told_once_and_goes_on_as_before(model, caplog):
    async def steps(one):
        await settled(model)
        await asyncio.sleep(0.1)

    with caplog.at_level(logging.INFO, "anmok.serve"):
        looked_after(model, steps)
    told = [record.message for record in caplog.records]
    assert "the text tower of m could not be measured" in told[0] and "no-such-checkpoint" in told[0]
    assert len(told) == 2 and model.encoder.settled == [("text", False)]


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_fails_is_told_and_left_alone_for_long(model, monkeypatch, caplog):
    calls = []

    def settle(tower, *, measure):
        calls.append(tower)
        raise RuntimeError("no such operator")

    monkeypatch.setattr(model.encoder, "settle", settle)
    instead_of_popen(monkeypatch, lambda command, **how: Done())

    async def steps(one):
        while not calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    looked_after(model, steps)
    assert calls == ["text"] and "the text tower of m cannot go on otherwise" in caplog.text


@pytest.fixture
def endless(monkeypatch):
    """Measurements that would take a minute."""
    started = []

    def sleeping(command, **how):
        started.append(subprocess.Popen([command[0], "-c", "import time; time.sleep(60)"], **how))
        return started[-1]

    instead_of_popen(monkeypatch, sleeping)
    return started


@pytest.mark.usefixtures("impatient")
def test_whoever_uses_a_model_ends_a_measurement_and_the_next_waits_for_more_quiet(model, endless, monkeypatch, caplog):
    monkeypatch.setattr(settling, "QUIET_S", 0.1)

    async def steps(one):
        for number in range(3):
            while len(endless) == number:
                await asyncio.sleep(0.005)
            one.stir()
            stirred = time.monotonic()
            assert await asyncio.to_thread(endless[number].wait, 5) != 0
        while len(endless) == 3:
            await asyncio.sleep(0.005)
        assert time.monotonic() - stirred > 0.5  # 0.1, 0.2, 0.4, 0.8

    looked_after(model, steps)
    assert model.encoder.settled == [] and not caplog.records


@pytest.mark.usefixtures("impatient")
def test_a_measurement_ends_with_the_service(model, endless):
    async def steps(one):
        while not endless:
            await asyncio.sleep(0.01)

    looked_after(model, steps)
    assert endless[0].wait(5) != 0
    assert model.encoder.settled == []


@pytest.mark.usefixtures("impatient")
def test_requests_end_a_measurement(serve, tiny_folder, endless, monkeypatch):
    served = serve(models=(f"tiny={tiny_folder}",), precision="auto")
    until(lambda: endless)
    monkeypatch.setattr(settling, "LOOK_S", 60)
    answer = httpx.post(f"{served.address}/v1/embed", json={"texts": ["a bag"]}, timeout=30)
    assert answer.status_code == 200 and endless[0].wait(5) != 0


# --- who waits for it, and what is told


@pytest.mark.usefixtures("impatient")
def test_jobs_measure_amid_their_work_and_requests_do_not(serve, tiny_folder, paint, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(choosing, "choose", lambda checkpoint, tower, threads: calls.append(tower) or Choice())
    monkeypatch.setattr(settling, "QUIET_S", 1e9)
    root = paint(tmp_path / "photos", 2)
    served = serve(models=(f"tiny={tiny_folder}",), precision="auto", roots=(root,))
    with httpx.Client(base_url=served.address, timeout=30) as client:
        client.post("/v1/collections", json={"name": "shop"}).raise_for_status()
        body = {"pictures": [base64_of(picture())], "labels": ["a", "b"]}
        client.post("/v1/classify", json=body).raise_for_status()
        assert calls == [] and runs(client)["settled"] is False
        job = client.post("/v1/collections/shop/folders", json={"folder": "photos"}).json()
        until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done")
        assert calls == ["image"] and runs(client)["settled"] is True


def test_a_precision_that_is_asked_for_is_judged_before_the_first_request(serve, wider_folder, monkeypatch):
    calls = []
    monkeypatch.setattr(choosing, "choose", lambda *what, **how: calls.append((what[1], how["precision"])) or NEAR)
    served = serve(models=(f"wider={wider_folder}",), precision="int8")
    assert calls == [("image", "int8"), ("text", "int8")]
    with httpx.Client(base_url=served.address, timeout=30) as client:
        told = runs(client)
        metrics = client.get("/metrics").text
    assert (told["runs"], told["precision"], told["settled"]) == ("onnxruntime int8", "int8", True)
    fidelity = {"mean": 0.9995, "least": 0.998, "agreement": 1.0, "certificate": NEAR.certificate.digest}
    assert (told["fidelity"], told["speedup"]) == (fidelity, 1.7)
    assert 'anmok_tower_fidelity{model="wider",precision="int8",tower="image"} 0.9995' in metrics


def test_the_counters_forget_how_a_model_ran_before(serve, tiny_folder, monkeypatch):
    served = serve(models=(f"tiny={tiny_folder}",), precision="auto")
    encoder = served.service.models.loaded[0].encoder
    with httpx.Client(base_url=served.address, timeout=30) as client:
        assert 'anmok_tower_settled{model="tiny",tower="text"} 0.0' in client.get("/metrics").text
        monkeypatch.setattr(encoder._towers, "choice", lambda tower: NEAR)
        loaded = [line for line in client.get("/metrics").text.splitlines() if line.startswith("anmok_model_loaded{")]
    assert loaded == ['anmok_model_loaded{image="onnxruntime int8",model="tiny",text="onnxruntime int8"} 1.0']
