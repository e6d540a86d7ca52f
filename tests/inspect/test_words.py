import numpy as np
import pytest
from PIL import Image

from anmok.errors import InspectionError
from anmok.inspect import WordInspector
from anmok.inspect.words import PLACES, _aggregate, _windows, state_texts


def test_states_in_the_language_of_the_name():
    for name in ("metal nut", "너트"):
        good, bad = state_texts(name)
        assert all(name in text for text in good + bad) and not set(good) & set(bad)
        hangul = [any("가" <= c <= "힣" for c in text.replace(name, "")) for text in bad]
        assert any(hangul) == (name == "너트")
    assert "a photo of a damaged metal nut." in state_texts("metal nut")[1]
    assert "손상된 너트를 찍은 사진" in state_texts("너트")[1]


def test_harmonic_means_by_hand():
    """Two sizes: the whole, and four quarters of which one is damaged."""
    half = PLACES // 2
    boxes = [(0, 0, PLACES, PLACES), *_windows(half, half)]
    values = _aggregate(boxes, np.array([0.5, 0.8, 0.2, 0.2, 0.2]))
    assert values[0, 0] == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))
    assert values[-1, -1] == pytest.approx(2 / (1 / 0.5 + 1 / 0.2))


def test_one_sound_window_acquits():
    """Three windows over one place, one of them sound: the harmonic mean is far below the plain one."""
    box = (0, 0, PLACES, PLACES)
    assert _aggregate([box] * 3, np.array([0.9, 0.9, 0.05]))[0, 0] == pytest.approx(3 / (2 / 0.9 + 1 / 0.05))


def test_inspects_without_any_fit(tiny_encoder, tmp_path):
    inspector = WordInspector(tiny_encoder, "metal nut")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    first, broken, second = inspector.inspect([Image.fromarray(pixels), b"", pixels], on_error="skip")
    assert first.score == second.score and 0 < first.score < 1 and first.p_value is None
    assert first.heat.shape == (60, 90) and first.fault == (first.score > 0.5)
    assert "empty" in broken.error


def test_a_name_is_needed(tiny_encoder):
    with pytest.raises(InspectionError, match="name"):
        WordInspector(tiny_encoder, "  ")
