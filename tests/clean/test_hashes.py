import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from anmok.clean.hashes import MIRROR, near_pairs, perceptual_hash

from .making import mirrored, noise, recompressed, scaled


def distance(first, second):
    return int(np.bitwise_count(perceptual_hash(first) ^ perceptual_hash(second)))


def found(hashes, alive=None, **options):
    alive = np.ones(len(hashes), bool) if alive is None else alive
    blocks = near_pairs(np.array(hashes, np.uint64), alive, **options)
    return [pair for i, j in blocks for pair in zip(i.tolist(), j.tolist(), strict=True)]


def brute_force(hashes, *, distance, first=0, flip=0):
    pairs = itertools.combinations(range(len(hashes)), 2)
    return {(i, j) for i, j in pairs if j >= first and (hashes[i] ^ hashes[j] ^ flip).bit_count() <= distance}


# Near each other: random ones hardly ever are.
SPARSE = st.sets(st.integers(0, 63), max_size=5).map(lambda bits: sum(1 << bit for bit in bits))
HASHES = st.tuples(st.lists(SPARSE, max_size=40), st.lists(st.sampled_from([0, MIRROR, (1 << 64) - 1]), min_size=40))


@settings(max_examples=150, deadline=None)
@given(HASHES, st.integers(0, 16), st.integers(0, 20), st.sampled_from([0, MIRROR]))
def test_finds_what_brute_force_finds_and_each_pair_once(parts, distance, first, flip):
    hashes = [bits ^ base for bits, base in zip(*parts, strict=False)]
    pairs = found(hashes, distance=distance, first=first, flip=flip)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == brute_force(hashes, distance=distance, first=first, flip=flip)


def test_finds_what_brute_force_finds_in_blocks(monkeypatch):
    monkeypatch.setattr("anmok.clean.hashes.LEADERS", 3)
    monkeypatch.setattr("anmok.clean.hashes.FOLLOWERS", 5)
    random = np.random.default_rng(0)
    hashes = [int(bits) for bits in random.integers(0, 1 << 12, 200)]
    assert set(found(hashes, distance=2)) == brute_force(hashes, distance=2)


def test_rows_that_are_turned_off_are_left_out():
    alive = np.ones(4, bool)
    alive[1] = False
    assert sorted(found([7, 7, 7, 6], alive, distance=1)) == [(0, 2), (0, 3), (2, 3)]


def test_rows_that_are_turned_off_on_the_way_are_left_out_from_then_on():
    hashes, alive = np.full(30_000, 5, np.uint64), np.ones(30_000, bool)
    start, pairs = time.process_time(), 0
    for i, j in near_pairs(hashes, alive, distance=8):
        pairs += len(i)
        alive[j] = False
    assert pairs < 64 * 30_000  # of 450 million
    assert time.process_time() - start < 3
    assert alive.sum() == 1


def test_is_the_sign_of_the_cosine_transform():
    picture = noise(3)
    gray = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    signs = dctn(gray, norm="ortho")[:8, :8].ravel() > 0
    assert int(perceptual_hash(picture)) == int("".join("01"[int(sign)] for sign in signs), 2)


def test_mirrored_hash_is_the_hash_of_the_mirrored_picture(photos):
    for photo in photos.values():
        square = photo.resize((32, 32))  # so that no resampling comes in between
        assert int(perceptual_hash(square)) ^ MIRROR == int(perceptual_hash(mirrored(square)))


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda photo: recompressed(photo, 30), 5),
        (lambda photo: scaled(photo, 0.4), 4),
        (lambda photo: scaled(photo, 2.5), 4),
        (lambda photo: photo.resize((200, 200)), 4),
        (lambda photo: ImageEnhance.Brightness(photo).enhance(0.7), 5),
        (lambda photo: photo.convert("L").convert("RGB"), 0),
    ],
)
def test_a_changed_copy_stays_near(photos, change, most):
    assert max(distance(photo, change(photo)) for photo in photos.values()) <= most


def test_different_photographs_are_far(photos):
    assert min(distance(one, two) for one, two in itertools.combinations(photos.values(), 2)) > 16


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50))
def test_every_size_has_a_hash(width, height):
    assert perceptual_hash(Image.new("RGB", (width, height))).dtype == np.uint64
