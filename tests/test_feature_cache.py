"""The cache gives what the encoder gives, encodes nothing twice, and is never in the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anmok.embeddings import unit
from anmok.encoder import Encoder
from anmok.errors import PictureError
from anmok.feature_cache import FeatureCache
from anmok.pictures import Transform


def noise(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def counted(tiny_encoder, monkeypatch):
    """How many pictures were given to the encoder."""
    counts = {"encode_image": 0, "features": 0}
    for name in counts:
        method = getattr(tiny_encoder, name)

        def count(items, method=method, name=name, **options):
            counts[name] += len(items)
            return method(items, **options)

        monkeypatch.setattr(tiny_encoder, name, count)
    return counts


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(4)]
    for seed, path in enumerate(paths):
        Image.fromarray(noise(seed)).save(path)
    return paths


def test_embeddings_are_those_of_the_encoder_to_the_bit_and_encoded_once(tiny_encoder, counted, files, tmp_path):
    expected = Encoder(tiny_encoder.checkpoint).encode_image(files)
    for _ in range(2):  # another object, as another process would have
        embeddings = FeatureCache(tiny_encoder, tmp_path / "c").embed(files)
        assert np.array_equal(embeddings.vectors, expected.vectors)
        assert embeddings.fingerprint == expected.fingerprint
    assert counted["encode_image"] == 4


def test_features_are_those_of_the_encoder_in_half_precision(tiny_encoder, counted, files, tmp_path):
    expected = Encoder(tiny_encoder.checkpoint).features(files)
    found = [FeatureCache(tiny_encoder, tmp_path / "c").features(files) for _ in range(2)]
    assert counted["features"] == 4
    for features in found:
        assert np.array_equal(features.embeddings.vectors, expected.embeddings.vectors)
        assert np.array_equal(features.patches, unit(expected.patches.astype(np.float16)))
        assert np.array_equal(features.local, expected.local.astype(np.float16).astype(np.float32))
        assert features.patches.dtype == features.local.dtype == np.float32


def test_content_counts_and_not_the_name(tiny_encoder, counted, files, tmp_path):
    cache = FeatureCache(tiny_encoder, tmp_path / "c")
    expected = cache.embed(files[0]).vectors
    moved = files[0].rename(tmp_path / "moved")
    for same in (moved, str(moved), moved.read_bytes()):
        assert np.array_equal(cache.embed(same).vectors, expected)
    assert counted["encode_image"] == 1
    assert np.array_equal(cache.embed(noise(0)).vectors, cache.embed(Image.open(moved)).vectors)
    assert counted["encode_image"] == 2
    Image.fromarray(noise(9)).save(moved, "png")
    assert not np.array_equal(cache.embed(moved).vectors, expected)


def test_order_duplicates_and_failures(tiny_encoder, counted, files, tmp_path):
    cache = FeatureCache(tiny_encoder, tmp_path / "c")
    (tmp_path / "bad.png").write_bytes(b"x")
    pictures = [files[0], tmp_path / "gone.png", files[1], tmp_path / "bad.png", files[0], b"x", {}]
    expected = Encoder(tiny_encoder.checkpoint).encode_image(pictures, on_error="skip")
    for embeddings in (cache.embed(pictures, on_error="skip"), cache.features(pictures, on_error="skip").embeddings):
        assert embeddings.indices.tolist() == [0, 2, 4]
        assert embeddings.failed == expected.failed
        assert np.abs(embeddings.vectors - expected.vectors).max() < 1e-5
    with pytest.raises(PictureError, match=r"gone\.png"):
        cache.embed(pictures)
    assert cache.embed([]).vectors.shape == (0, 24)
    assert cache.features([]).patches.shape == (0, 4, 4, 24)


def test_another_encoder_is_not_mixed_up(tiny_encoder, wider_checkpoint, tmp_path):
    caches = [FeatureCache(Encoder(c), tmp_path / "c") for c in (tiny_encoder.checkpoint, wider_checkpoint)]
    for _ in range(2):
        assert [cache.embed(noise(0)).vectors.shape[1] for cache in caches] == [24, 64]
    assert len(list((tmp_path / "c").glob("*.embeddings"))) == 2
    FeatureCache(Encoder(tiny_encoder.checkpoint, engine="onnxruntime", precision="fp32"), tmp_path / "c").embed(
        noise(0)
    )


def test_the_folder_keeps_within_its_limit(tiny_encoder, wider_checkpoint, counted, tmp_path):
    folder = tmp_path / "c"
    wide = FeatureCache(Encoder(wider_checkpoint), folder, limit_mb=1)
    wide.features([noise(i) for i in range(100)])
    cache = FeatureCache(tiny_encoder, folder, limit_mb=1)
    cache.features([noise(i, 8, 8) for i in range(700)])
    cache.embed([noise(i, 8, 8) for i in range(300)])
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1 << 20
    assert not list(folder.glob(f"{wider_checkpoint.fingerprint}*"))  # it made room
    before = counted["features"]
    cache.features([noise(i, 8, 8) for i in range(690, 700)])
    assert counted["features"] == before
    cache.features([noise(0, 8, 8)])  # the oldest is gone
    assert counted["features"] == before + 1


def test_a_folder_that_cannot_be_written_is_no_error(tiny_encoder, counted, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = FeatureCache(tiny_encoder, tmp_path / "file")
    for _ in range(2):
        assert len(cache.embed([noise(0), noise(1)])) == 2
    assert counted["encode_image"] == 4


def test_a_read_only_folder_is_read(tiny_encoder, counted, tmp_path, monkeypatch):
    FeatureCache(tiny_encoder, tmp_path / "c").embed(noise(0))

    def refuse(self, mode="r", **options):
        if mode != "rb":
            raise PermissionError(13, "read-only")
        return opened(self, mode, **options)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)  # permissions do not stop root
    cache = FeatureCache(tiny_encoder, tmp_path / "c")
    for _ in range(2):
        assert len(cache.embed([noise(0), noise(1)])) == 2
    assert counted["encode_image"] == 3


def test_a_damaged_file_is_begun_anew(tiny_encoder, counted, tmp_path):
    folder = tmp_path / "c"
    expected = FeatureCache(tiny_encoder, folder).embed(noise(0)).vectors
    (file,) = folder.glob("*.embeddings")
    file.write_bytes(b"garbled" * 100)
    for _ in range(2):
        assert np.array_equal(FeatureCache(tiny_encoder, folder).embed(noise(0)).vectors, expected)
    assert counted["encode_image"] == 2


def test_a_file_that_changes_while_it_is_encoded_is_not_kept(tiny_encoder, files, tmp_path, monkeypatch):
    cache, method = FeatureCache(tiny_encoder, tmp_path / "c"), tiny_encoder.encode_image

    def change(items, **options):
        Image.fromarray(noise(9, 50, 50)).save(files[0])
        return method(items, **options)

    before = files[0].read_bytes()
    monkeypatch.setattr(tiny_encoder, "encode_image", change)
    cache.embed(files[0])
    monkeypatch.setattr(tiny_encoder, "encode_image", method)
    assert np.abs(cache.embed(before).vectors - method(noise(0)).vectors).max() < 1e-5


def test_naflex_keeps_embeddings_only(tiny_checkpoint, tmp_path):
    image = replace(tiny_checkpoint.spec.image, naflex=True, pool="mean", class_token=False, pre_norm=False)
    transform = Transform(size=(32, 32), resize="naflex", patch_size=8, max_patches=16)
    weights = dict(tiny_checkpoint.weights)
    weights["image.position_embedding"] = weights["image.position_embedding"][1:]
    for name in [name for name in weights if name.startswith(("image.class", "image.pre_norm"))]:
        del weights[name]
    spec = replace(tiny_checkpoint.spec, image=image)
    encoder = Encoder(replace(tiny_checkpoint, spec=spec, weights=weights, transform=transform))
    cache = FeatureCache(encoder, tmp_path / "c")
    assert np.array_equal(cache.features(noise(0)).patches[0], encoder.features(noise(0)).patches[0])
    assert np.array_equal(cache.embed(noise(0)).vectors, encoder.encode_image(noise(0)).vectors)
    assert [path.suffix for path in sorted((tmp_path / "c").iterdir())] == [".embeddings", ""]


def test_the_default_folder_is_in_the_home(tiny_encoder):
    from anmok.settings import settings

    assert FeatureCache(tiny_encoder).folder == settings().home / "features"
