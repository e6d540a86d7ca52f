import json

import pytest

from anmok.clean import REASONS, CleanSettings
from anmok.errors import SettingsError


def test_all_bad_values_are_in_one_error():
    with pytest.raises(SettingsError) as error:
        CleanSettings(min_side=0, max_aspect=0.5, drop_lowest=1.5, keep=frozenset({"blured"}))
    for part in (
        "min_side is 0",
        "max_aspect is 0.5",
        "drop_lowest is 1.5, expected 0 to 1",
        "Did you mean 'blurred'?",
    ):
        assert part in str(error.value)


def test_not_a_number_is_no_threshold():
    with pytest.raises(SettingsError, match="min_match is nan"):
        CleanSettings(min_match=float("nan"))


def test_what_cannot_be_read_cannot_be_kept():
    with pytest.raises(SettingsError, match="cannot be kept"):
        CleanSettings(keep=frozenset({"unreadable"}))


def test_settings_are_json():
    settings = CleanSettings(keep=frozenset({"blurred", "blank"}))
    assert json.loads(json.dumps(settings.to_dict()))["keep"] == ["blank", "blurred"]


def test_every_reason_speaks_both_languages():
    for reason in REASONS.values():
        assert reason.english.isascii()
        assert any("가" <= letter <= "힣" for letter in reason.korean)
        assert reason.explanation.endswith(".")
