"""Settings come from the environment, and a misspelled one is an error."""

from pathlib import Path

import pytest

from anmok.errors import SettingsError
from anmok.settings import settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("ANMOK_HOME", "ANMOK_THREADS", "ANMOK_MAX_PIXELS", "ANMOK_PROGRESS"):
        monkeypatch.delenv(name, raising=False)


def test_defaults():
    assert settings().threads == 0
    assert settings().max_pixels == 100_000_000
    assert settings().home.name == "anmok"


def test_values_are_read_when_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path))
    monkeypatch.setenv("ANMOK_THREADS", "2")
    assert settings().home == Path(tmp_path)
    assert settings().threads == 2


def test_misspelled_setting_is_named_with_its_neighbour(monkeypatch):
    monkeypatch.setenv("ANMOK_THREAD", "2")
    with pytest.raises(SettingsError, match=r"ANMOK_THREAD is not a setting\. Did you mean 'ANMOK_THREADS'"):
        settings()


def test_all_problems_are_told_at_once(monkeypatch):
    monkeypatch.setenv("ANMOK_THREADS", "two")
    monkeypatch.setenv("ANMOK_PROGRESS", "yes")
    with pytest.raises(SettingsError, match=r"ANMOK_THREADS is 'two'.*ANMOK_PROGRESS is 'yes'"):
        settings()
