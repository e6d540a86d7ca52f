"""What the machine can do is told without loading an engine, and what is missing comes with the way out."""

from anmok.doctor import examine_machine


def test_processor_and_engine_are_named():
    found = {finding.name: finding for finding in examine_machine()}
    assert "cores" in found["processor"].detail
    assert "ONNX Runtime" in found["engine"].detail


def test_what_is_missing_says_how_to_get_it():
    for finding in examine_machine():
        assert finding.status != "missing" or "pip install" in finding.detail or "Pillow" in finding.detail


def test_cache_that_cannot_be_written_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path))
    found = {finding.name: finding for finding in examine_machine()}
    assert found["cache"].status == "wrong"
    assert "ANMOK_HOME" in found["cache"].detail
