"""Which engine and precision: the fastest that is near enough, told why, found once."""

import json
from dataclasses import replace

import numpy as np
import pytest

import anmok
from anmok.encoder import Encoder
from anmok.runtime import cache, fidelity, openvino, pytorch, towers
from anmok.runtime import choice as choosing
from anmok.runtime.choice import EXACT, Choice, Way, known_choice, ways
from anmok.runtime.towers import PrecisionRefused

INT8 = Way("onnxruntime", "int8")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path))
    monkeypatch.setenv("ANMOK_PRECISION", "auto")
    monkeypatch.setattr(openvino, "installed", lambda: False)
    monkeypatch.setattr(pytorch, "gpu", lambda: None)


@pytest.fixture
def lenient(monkeypatch):
    """The embedded model knows little of people and streets: which of two such kinds it prefers hangs on a hair."""
    monkeypatch.setattr(fidelity, "AGREEMENT", 0.9)


@pytest.fixture
def fast(monkeypatch):
    """Takes no times: the first candidate is twice as fast as float32, each next a little less."""
    speeds = iter(2 - 0.05 * i for i in range(100))
    monkeypatch.setattr(choosing, "_ratio", lambda *_: next(speeds))


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(choosing, "_ratio", lambda *_: 1.05)


def test_without_openvino_there_is_onnx_runtime_alone(checkpoint):
    found = ways(checkpoint)
    assert found[0] == EXACT
    assert {way.engine for way in found} == {"onnxruntime"}
    assert ways(checkpoint, precision="bf16") == []
    assert ways(checkpoint, precision="int8")[0] == INT8


@pytest.mark.usefixtures("fast", "lenient")
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_trained_tower_gets_the_fastest_with_a_certificate(tower):
    checkpoint = anmok.load("anmok-mini").checkpoint
    choice = choosing.choose(checkpoint, tower, 1)
    assert choice.way.precision == "int8"
    assert choice.certificate.refusal == ""
    assert choice.certificate.made_with["fingerprint"] == checkpoint.fingerprint
    assert choice.certificate.made_with["way"] == str(choice.way)
    assert known_choice(checkpoint, tower, 1) == choice
    assert known_choice(checkpoint, tower, 2) is None  # with other threads it is measured anew


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_tower_that_one_scale_cannot_hold_is_refused_it_and_the_reason_kept(hopeless, tower):
    choice = choosing.choose(hopeless, tower, 1)
    assert "below" in choice.refused[str(INT8)]
    assert choice.way != INT8
    assert choice.certificate is None or choice.certificate.refusal == ""


def test_large_jpegs_are_shrunk_only_where_that_is_near_enough():
    assert Choice(shrunk=0.9991).shrinks
    assert not Choice(shrunk=0.9989).shrinks
    assert not Choice(shrunk=float("nan")).shrinks
    assert not Choice().shrinks


@pytest.mark.usefixtures("slow")
def test_how_near_shrunk_jpegs_are_is_measured_for_the_picture_tower(checkpoint):
    choice = choosing.choose(checkpoint, "image", 1)
    assert 0.9 < choice.shrunk < 0.9999999
    assert choosing.choose(checkpoint, "text", 1).shrunk is None


@pytest.mark.usefixtures("slow")
def test_what_gains_nothing_is_not_taken(checkpoint):
    choice = choosing.choose(checkpoint, "image", 1)
    assert choice.way == EXACT
    assert choice.certificate is None
    assert all(speed == pytest.approx(1.05) for speed in choice.speeds.values())


@pytest.mark.usefixtures("fast")
def test_what_an_engine_cannot_run_is_told_and_left_out(checkpoint, monkeypatch):
    opens = choosing._Workshop.open

    def broken(self, way):
        if way.precision == "int8":
            raise RuntimeError("no such\noperator")
        return opens(self, way)

    monkeypatch.setattr(choosing._Workshop, "open", broken)
    choice = choosing.choose(checkpoint, "image", 1)
    assert choice.way == EXACT
    assert choice.refused[str(INT8)] == "it cannot be run: no such operator"


@pytest.mark.usefixtures("slow", "lenient")
def test_a_precision_that_is_asked_for_need_not_be_faster():
    encoder = anmok.load("anmok-mini", precision="int8")
    assert "int8" in encoder.runs("text")
    exact = anmok.load("anmok-mini", precision="fp32")
    assert exact.runs("text") == "onnxruntime fp32"
    texts = ["a red bag", "a photo of a tomato", "사과 사진"]
    cosines = (encoder.encode_text(texts).vectors * exact.encode_text(texts).vectors).sum(axis=1)
    assert 0.99 < cosines.min() < 0.9999999


@pytest.mark.usefixtures("fast")
def test_a_refused_precision_is_told_and_a_safer_one_used(hopeless, monkeypatch):
    monkeypatch.setattr(choosing, "KEPT", (0.0,))
    encoder = Encoder(hopeless, precision="int8")
    with pytest.warns(PrecisionRefused, match=r"image tower of .* runs in fp32, not int8: onnxruntime int8: .*below"):
        vectors = encoder.encode_image(np.zeros((40, 40, 3), np.uint8)).vectors
    assert encoder.runs("image") == "onnxruntime fp32"
    assert np.array_equal(
        vectors, Encoder(hopeless, precision="fp32").encode_image(np.zeros((40, 40, 3), np.uint8)).vectors
    )


@pytest.mark.usefixtures("fast", "lenient")
def test_long_work_measures_once_and_goes_on_with_the_best(monkeypatch):
    encoder = anmok.load("anmok-mini")
    pictures = [np.full((20, 20, 3), value, np.uint8) for value in range(0, 250, 25)]
    before = encoder.encode_image(pictures).vectors
    assert encoder.runs("image") == "onnxruntime fp32"
    monkeypatch.setattr(towers, "PATIENCE", 0.0)
    encoder.encode_image(pictures)
    chosen = encoder.runs("image")
    assert "int8" in chosen
    assert encoder._towers.shrinks
    assert (encoder.encode_image(pictures).vectors * before).sum(axis=1).min() > 0.99
    monkeypatch.setattr(choosing, "choose", None)  # whoever measures again fails
    again = anmok.load("anmok-mini")
    again.encode_image(pictures)
    assert again.runs("image") == chosen
    assert again.runs("text") == "onnxruntime fp32"


def test_prepared_pictures_are_work_too(checkpoint, monkeypatch):
    calls = []
    monkeypatch.setattr(choosing, "choose", lambda checkpoint, tower, threads: calls.append(tower) or Choice())
    encoder = Encoder(checkpoint)
    prepared = [encoder.preparer()(np.zeros((20, 20, 3), np.uint8))]
    encoder.encode_prepared(prepared)
    assert calls == []
    monkeypatch.setattr(towers, "PATIENCE", 1e-9)
    encoder.encode_prepared(prepared)
    assert calls == ["image"] and encoder.settled("image") and not encoder.settled("text")


def test_who_settles_when_there_is_time_is_told_when_it_is_due(checkpoint, monkeypatch):
    monkeypatch.setattr(choosing, "choose", None)  # whoever measures fails
    encoder = Encoder(checkpoint)
    encoder.settles = False
    encoder.encode_text(["a"])
    assert not encoder.due("text")
    monkeypatch.setattr(towers, "PATIENCE", 0.0)
    encoder.encode_text(["a"])
    assert encoder.due("text") and not encoder.settled("text")
    encoder.settle("text", measure=False)
    assert encoder.settled("text") and not encoder.due("text") and encoder.choice("text") == Choice()


@pytest.mark.usefixtures("slow")
def test_what_another_process_found_is_taken_without_measuring(checkpoint, monkeypatch):
    encoder, other = Encoder(checkpoint), Encoder(checkpoint)
    monkeypatch.setattr(towers, "PATIENCE", 0.0)
    assert encoder.choice("text") == Choice()
    other.settle("text")
    monkeypatch.setattr(choosing, "choose", None)
    encoder.settle("text", measure=False)
    assert encoder.choice("text") == other.choice("text") != Choice()
    assert Encoder(checkpoint).settled("text")


def test_what_was_asked_for_is_settled(checkpoint):
    exact = Encoder(checkpoint, precision="fp32")
    assert exact.settled("image") and not exact.due("image")
    assert Encoder(checkpoint, engine="torch").settled("image")


@pytest.mark.parametrize("damage", [{}, {"way": {"engine": "x"}, "certificate": None}, {"way": None}])
def test_a_record_of_another_shape_is_not_trusted(checkpoint, damage):
    folder = cache.folder_of(cache.made_with(checkpoint.fingerprint, 1))
    cache.write_record(folder / "image.json", damage)
    assert known_choice(checkpoint, "image", 1) is None


def test_a_choice_survives_json(checkpoint):
    choice = Choice(Way("openvino", "int8", 0.25), None, {"a": 1.5}, {"b": "because"})
    from dataclasses import asdict

    assert choosing._choice(json.loads(json.dumps(asdict(choice)))) == choice


def test_bf16_without_openvino_names_the_way_out(checkpoint):
    with pytest.raises(anmok.AnmokError, match=r"anmok\[openvino\]"):
        Encoder(checkpoint, precision="bf16")


def test_a_setting_does_not_keep_others_from_running(checkpoint, monkeypatch):
    monkeypatch.setenv("ANMOK_PRECISION", "int8")
    assert Encoder(replace(checkpoint, exports=object())).runs("image") == "onnxruntime fp32"
    assert Encoder(checkpoint, engine="torch").runs("image") == "torch fp32"


def test_ready_exports_run_as_they_are(checkpoint):
    exported = replace(checkpoint, exports=object())
    assert ways(exported) == [EXACT]
    with pytest.raises(anmok.AnmokError, match="its ready ONNX graphs run as they are"):
        Encoder(exported, precision="int8")
