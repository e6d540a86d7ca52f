"""Pictures to features: embeddings as ever, places of unit length; order, duplicates, failures, kinds of towers."""

from dataclasses import replace

import numpy as np
import pytest

from anmok import progress
from anmok.checkpoints import Checkpoint
from anmok.checkpoints.checkpoint import ExportedGraphs
from anmok.encoder import Encoder
from anmok.errors import CheckpointError, PictureError
from anmok.models.spec import CnnSpec, weight_shapes
from anmok.pictures import Transform


def noise(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def of_another_tower(checkpoint: Checkpoint, image, transform: Transform | None = None) -> Encoder:
    spec = replace(checkpoint.spec, image=image)
    rng = np.random.default_rng(0)
    weights = {
        name: np.asarray(np.abs(0.2 * rng.normal(size=shape)) + (0.1 if "var" in name else 0), np.float32)
        for name, shape in weight_shapes(spec).items()
    }
    return Encoder(replace(checkpoint, spec=spec, weights=weights, transform=transform or checkpoint.transform))


@pytest.fixture(scope="module")
def naflex(tiny_checkpoint):
    image = replace(tiny_checkpoint.spec.image, naflex=True, pool="mean", class_token=False, pre_norm=False)
    transform = Transform(size=(32, 32), resize="naflex", patch_size=8, max_patches=16)
    return of_another_tower(tiny_checkpoint, image, transform)


def test_embeddings_are_as_ever_and_places_are_of_unit_length(tiny_encoder):
    pictures = [noise(seed) for seed in range(5)]
    features = tiny_encoder.features(pictures, batch_size=2)
    assert np.abs(features.embeddings.vectors - tiny_encoder.encode_image(pictures).vectors).max() < 1e-5
    assert features.embeddings.fingerprint == tiny_encoder.fingerprint
    assert features.patches.shape == (5, 4, 4, 24)
    assert features.local.shape == (5, 4, 4, 32)
    assert features.patches.dtype == features.local.dtype == np.float32
    assert np.allclose(np.linalg.norm(features.patches, axis=-1), 1, atol=1e-5)


def test_order_duplicates_and_failures(tiny_encoder):
    a, b = noise(1), noise(2)
    features = tiny_encoder.features([a, b"no picture", b, a], on_error="skip", batch_size=2)
    assert len(features) == 3
    assert features.embeddings.indices.tolist() == [0, 2, 3]
    assert [failure.index for failure in features.embeddings.failed] == [1]
    alone = tiny_encoder.features(b)
    for name in ("patches", "local"):
        part = getattr(features, name)
        assert np.array_equal(part[0], part[2])
        assert np.abs(part[1] - getattr(alone, name)[0]).max() < 1e-4
        assert np.abs(part[1] - part[0]).max() > 0.01
    with pytest.raises(PictureError):
        tiny_encoder.features([a, b"no picture"])


def test_equal_pictures_are_run_once(tiny_checkpoint, monkeypatch):
    encoder = Encoder(tiny_checkpoint)
    encoder.features(noise(0))
    run, counted = encoder._dense.run, []
    monkeypatch.setattr(encoder._dense, "run", lambda *arrays: counted.append(len(arrays[0])) or run(*arrays))
    encoder.features([noise(1), noise(2), noise(1), noise(1)], batch_size=2)
    assert counted == [2]


def test_rows_keep_their_places(tiny_encoder):
    features = tiny_encoder.features([noise(seed) for seed in range(4)])
    for rows, expected in ((2, [2]), (slice(1, 3), [1, 2]), ([3, 0], [3, 0]), (-1, [3])):
        some = features[rows]
        assert some.embeddings.indices.tolist() == expected
        assert np.array_equal(some.patches, features.patches[expected])
        assert np.array_equal(some.local, features.local[expected])


def test_nothing_gives_nothing(tiny_encoder, naflex):
    features = tiny_encoder.features([])
    assert (len(features), features.patches.shape, features.local.shape) == (0, (0, 4, 4, 24), (0, 4, 4, 32))
    features = naflex.features([b""], on_error="skip")
    assert (len(features), features.patches, features.local) == (0, [], [])


def test_naflex_pictures_have_rows_and_columns_of_their_own(naflex):
    pictures = [noise(0, 40, 80), noise(1, 80, 40), noise(2, 40, 80), noise(0, 40, 80)]
    features = naflex.features(pictures, batch_size=3)
    assert [place.shape for place in features.patches] == [(3, 5, 24), (5, 3, 24), (3, 5, 24), (3, 5, 24)]
    assert [place.shape[:2] for place in features.local] == [(3, 5), (5, 3), (3, 5), (3, 5)]
    assert np.array_equal(features.patches[0], features.patches[3])
    alone = naflex.features(pictures[1])
    assert np.abs(alone.patches[0] - features.patches[1]).max() < 1e-5
    assert np.abs(alone.local[0] - features.local[1]).max() < 1e-4
    assert [place.shape for place in features[[1, 0]].patches] == [(5, 3, 24), (3, 5, 24)]


def test_a_change_in_a_corner_is_seen_in_that_corner(tiny_checkpoint):
    encoder = of_another_tower(tiny_checkpoint, CnnSpec("vgg", 32, (1, 1, 1, 1, 1), width=0.125, stem="small"))
    black, marked = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)
    marked[:4, -4:] = 255
    features = encoder.features([black, marked])
    assert features.local.shape[1:3] == (8, 8)
    change = np.abs(features.local[1] - features.local[0]).max(axis=-1)
    assert np.unravel_index(change.argmax(), change.shape) in [(0, 7), (1, 7), (0, 6), (1, 6)]
    assert change[-1, 0] < 1e-3 * change.max()


def test_places_are_in_float32_whatever_the_encoder_runs_in(tiny_checkpoint, tiny_encoder):
    pytest.importorskip("torch")
    reading = Encoder(tiny_checkpoint, engine="torch")
    assert np.array_equal(reading.features(noise(0)).patches, tiny_encoder.features(noise(0)).patches)


def test_openvino_gives_the_same_places(tiny_checkpoint, tiny_encoder, naflex, monkeypatch):
    pytest.importorskip("openvino")
    pictures = [noise(0), noise(1, 30, 90)]
    expected = tiny_encoder.features(pictures), naflex.features(pictures)
    monkeypatch.setattr("anmok.runtime.onnxruntime.installed", lambda: False)
    for encoder, features in zip((tiny_encoder, naflex), expected, strict=True):
        found = Encoder(encoder.checkpoint).features(pictures)
        for name in ("patches", "local"):
            for place, wanted in zip(getattr(found, name), getattr(features, name), strict=True):
                assert np.abs(place - wanted).max() < 1e-4


def test_ready_exports_know_no_places(tiny_checkpoint, tmp_path):
    exported = replace(tiny_checkpoint, exports=ExportedGraphs(tmp_path / "v.onnx", tmp_path / "t.onnx"))
    encoder = Encoder.__new__(Encoder)
    encoder.checkpoint, encoder._threads, encoder._dense = exported, 1, None
    with pytest.raises(CheckpointError, match=r"tiny holds ready ONNX graphs.*put model\.safetensors"):
        encoder.features(noise(0))


def test_progress_counts_every_picture(tiny_encoder):
    reports = []
    with progress.listen(reports.append):
        tiny_encoder.features([noise(0), b"", noise(1)], on_error="skip", batch_size=2)
    assert reports[-1].done == reports[-1].total == 3
