"""explain(): every method on every kind of tower, what it refuses, and where it points."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from anmok.encoder import Encoder
from anmok.errors import MissingExtra, PictureError, SettingsError, TextError
from anmok.explain import METHODS, explain, explain_text, methods_of
from anmok.explain.occlusion import ENCODINGS, WINDOW, _cells
from anmok.models.spec import CnnSpec, HybridSpec, ResNetSpec
from anmok.pictures import Transform

from ..conftest import TINY, weights_of

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")

TOWERS = {
    "vit": TINY.image,
    "mean": replace(TINY.image, pool="mean", class_token=False),
    "map": replace(TINY.image, pool="map", class_token=False, pre_norm=False, image_size=34),
    "naflex": replace(TINY.image, pool="map", class_token=False, pre_norm=False, naflex=True),
    "hybrid": HybridSpec(32, (4, 8, 8), 32, 2, 2, 64, "gelu", "cls", 1e-5),
    "resnet": ResNetSpec(64, 8, (1, 1, 1, 1), 4),
    "cnn": CnnSpec("resnet", 64, (1, 1, 1, 1), 0.25),
}


@pytest.fixture(scope="module")
def encoders(tiny_checkpoint):
    made = {}
    for name, image in TOWERS.items():
        spec = replace(TINY, image=image)
        weights = weights_of(spec)
        weights |= {key: np.abs(array) + 0.5 for key, array in weights.items() if key.endswith("running_var")}
        if name == "naflex":
            transform = Transform(size=(32, 32), resize="naflex", patch_size=8, max_patches=16)
        else:
            transform = replace(tiny_checkpoint.transform, size=(image.image_size,) * 2)
        made[name] = Encoder(replace(tiny_checkpoint, name=name, spec=spec, weights=weights, transform=transform))
    return made


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("against", [None, "a dog"])
def test_every_method_gives_a_map_of_the_picture(name, against, encoders, picture):
    encoder = encoders[name]
    score = (encoder.encode_image(picture) @ encoder.encode_text(["a cat", "a dog"]))[0]
    for method in methods_of(encoder):
        if method == "rollout" and against:
            continue
        found = explain(encoder, picture, "a cat", method=method, against=against)
        assert found.method == method
        assert found.values.shape == (60, 100)
        assert found.values.dtype == np.float32
        assert np.abs(found.values).max() == pytest.approx(1)
        assert found.strength > 0
        assert found.score == pytest.approx(score[0] - (score[1] if against else 0), abs=1e-5)
        _, left, _, right = found.seen
        assert not found.values[:, :left].any() and not found.values[:, right:].any()
        if method not in ("occlusion", "patches") and not against:
            assert found.values.min() >= 0
        assert found.overlay(picture).size == (100, 60)


@pytest.mark.parametrize("method", ["occlusion", "legrad"])
def test_the_difference_turned_round_is_the_map_turned_round(method, encoders, picture):
    one = explain(encoders["vit"], picture, "a cat", method=method, against="a dog")
    other = explain(encoders["vit"], picture, "a dog", method=method, against="a cat")
    assert np.abs(one.values + other.values).max() < 1e-3
    assert one.score == pytest.approx(-other.score, abs=1e-6)


def test_another_picture_is_a_target_too(encoders, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "p.png")
    encoder = encoders["vit"]
    found = explain(encoder, tmp_path / "p.png", tmp_path / "p.png", method="occlusion")
    assert found.score == pytest.approx(1, abs=1e-5)
    assert explain(encoder, picture, picture[:, ::-1].copy(), method="legrad").score < 1


class Bright:
    """An encoder that sees one thing: how bright each quarter of what it looks at is."""

    def __init__(self, encoder, transform):
        self.checkpoint = replace(encoder.checkpoint, transform=transform)

    def encode_image(self, pictures, **_):
        items = pictures if isinstance(pictures, list) else [pictures]
        seen = [np.asarray(self.checkpoint.transform(item), np.float32)[:, :, 0] / 255 for item in items]
        return type("Embeddings", (), {"vectors": np.array([[cut[4:12, 20:28].mean()] for cut in seen], np.float32)})


@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
def test_occlusion_finds_the_only_place_that_counts(resize, encoders, picture):
    """The tower looks at rows 4 to 12 and columns 20 to 28 of its 32 x 32 pixels, wherever the transform gets them."""
    from anmok.explain.heatmap import place
    from anmok.explain.occlusion import occlusion

    transform = Transform(size=(32, 32), resize=resize)
    shaded = Image.fromarray(np.clip(picture // 4 + 190, 0, 255).astype(np.uint8))
    if resize == "longest":  # of a lying picture, rows above and below the middle are padding
        shaded = shaded.transpose(Image.Transpose.ROTATE_90)
    size = (shaded.height, shaded.width)
    toward = np.ones(1, np.float32)
    spotted = np.asarray(shaded).copy()
    (top, bottom), (left, right) = transform.window(size)
    y = [round(top + (bottom - top) * edge / 32) for edge in (4, 12)]
    x = [round(left + (right - left) * edge / 32) for edge in (20, 28)]
    spotted[: y[0]], spotted[y[1] :], spotted[:, : max(0, x[0])], spotted[:, max(0, x[1]) :] = 0, 0, 0, 0
    values, _, _ = place(
        occlusion(Bright(encoders["vit"], transform), Image.fromarray(spotted), toward), transform.window(size), size
    )
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert y[0] - 4 <= row <= y[1] + 4
    assert max(0, x[0]) - 4 <= column <= min(size[1], x[1]) + 4


@pytest.mark.parametrize("aspect", [0.001, 0.3, 1.0, 1.7, 50.0, 1000.0])
def test_occlusion_keeps_to_its_number_of_encodings(aspect):
    rows, columns = _cells(aspect)
    assert rows >= 1 and columns >= 1
    assert (rows + WINDOW - 1) * (columns + WINDOW - 1) + 1 <= ENCODINGS or min(rows, columns) == 1
    if 0.3 <= aspect <= 2:
        assert rows / columns == pytest.approx(aspect, rel=0.25)
        assert rows * columns > ENCODINGS / 3


def test_refusals_name_the_way_out(encoders, picture):
    with pytest.raises(SettingsError, match=r"'occluson' is unknown.*Did you mean 'occlusion'"):
        explain(encoders["vit"], picture, "a cat", method="occluson")
    with pytest.raises(SettingsError, match="not one for the picture tower of vit: occlusion"):
        explain(encoders["vit"], picture, "a cat", method="gradcam")
    with pytest.raises(SettingsError, match="not one for the picture tower of resnet"):
        explain(encoders["resnet"], picture, "a cat", method="legrad")
    with pytest.raises(SettingsError, match="the same for every target"):
        explain(encoders["vit"], picture, "a cat", method="rollout", against="a dog")
    with pytest.raises(TextError, match="empty text"):
        explain(encoders["vit"], picture, "  ")
    with pytest.raises(PictureError):
        explain(encoders["vit"], "no-such-file.png", "a cat")


def test_without_torch_methods_without_gradients_are_left(encoders, picture, monkeypatch):
    from anmok.explain import picture as room

    monkeypatch.setattr(room, "find_spec", lambda name: None)
    assert not set(methods_of(encoders["vit"])) & set(room.GRADIENTS)
    assert explain(encoders["vit"], picture, "a cat").method in ("occlusion", "patches")
    with pytest.raises(MissingExtra, match=r"anmok\[train\]"):
        explain(encoders["vit"], picture, "a cat", method="legrad")


def test_the_room_loads_no_torch():
    code = "import sys, anmok.explain, anmok.explain.judge; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_methods_are_named_once():
    assert len(set(METHODS)) == len(METHODS)


def test_each_word_and_what_it_adds(encoders, picture):
    encoder = encoders["vit"]
    words = explain_text(encoder, picture, "a  small 고양이 on a chair")
    assert [word for word, _ in words] == ["a", "small", "고양이", "on", "a", "chair"]
    whole, without = (
        encoder.encode_text(["a small 고양이 on a chair", "a 고양이 on a chair"]) @ encoder.encode_image(picture)
    )[:, 0]
    assert words[1][1] == pytest.approx(whole - without, abs=1e-6)


def test_a_text_of_one_word_and_of_none(encoders, picture):
    ((word, added),) = explain_text(encoders["vit"], picture, "cat")
    assert word == "cat"
    assert np.isfinite(added)
    with pytest.raises(TextError, match="no words"):
        explain_text(encoders["vit"], picture, " \n ")
