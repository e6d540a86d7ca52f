import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.clean import CleanSettings
from anmok.clean.duplicates import KINDS, Looks, find_duplicates
from anmok.clean.hashes import perceptual_hash
from anmok.clean.signatures import signature, similarity

from .making import cropped, mirrored, noise, recompressed


def looks_of(*pictures, embeddings=None):
    """Every picture its own file, equal pixels where the pictures are equal."""
    return Looks(
        files=np.arange(len(pictures), dtype=np.uint64),
        pixels=np.array([hash(picture.tobytes()) & 0xFFFFFFFF for picture in pictures], np.uint64),
        hashes=np.array([perceptual_hash(picture) for picture in pictures], np.uint64),
        signatures=np.stack([signature(picture) for picture in pictures]),
        embeddings=embeddings,
    )


def twins(looks, *, held_out=0, **options):
    rows = np.arange(len(looks.files))
    return find_duplicates(looks, rows, held_out=held_out, settings=CleanSettings(**options))


def test_the_first_of_equal_files_stays():
    looks = looks_of(noise(0), noise(1), noise(0), noise(0))
    looks.files[:] = [7, 8, 7, 9]
    found = twins(looks)
    assert found.twin.tolist() == [-1, -1, 0, 0]
    assert [KINDS[kind] for kind in found.kind[2:]] == ["same file", "same pixels"]


def test_rows_say_which_is_the_best():
    looks = looks_of(noise(0), noise(1), noise(0))
    found = find_duplicates(looks, np.array([2, 1, 0]), held_out=0, settings=CleanSettings())
    assert found.twin.tolist() == [-1, -1, 0]  # places in the list of rows: row 0 is dropped for row 2


def test_near_duplicates_and_mirrored_ones():
    looks = looks_of(noise(0, 200), recompressed(noise(0, 200)), mirrored(noise(0, 200)), noise(1))
    found = twins(looks)
    assert found.twin.tolist() == [-1, 0, 0, -1]
    assert found.alike[1] > 0.99
    assert twins(looks, mirrored=False).twin.tolist() == [-1, 0, -1, -1]
    assert twins(looks, keep=frozenset({"near duplicate"})).twin.tolist() == [-1, -1, -1, -1]


def test_equal_hashes_alone_make_no_duplicate():
    looks = looks_of(noise(0), noise(1))
    looks.hashes[:] = 5
    assert twins(looks).twin.tolist() == [-1, -1]


def test_neighbours_of_the_encoder_are_looked_at_where_hashes_are_far(photos):
    photo = photos["photo-cat"]
    looks = looks_of(photo, cropped(photo, 0.0, 0.1, 0.1, 0.0), photos["photo-clock"])
    assert twins(looks).twin.tolist() == [-1, -1, -1]
    vectors = np.array([[1, 0], [0.98, 0.199], [0.99, 0.141]], np.float16)
    near = Looks(looks.files, looks.pixels, looks.hashes, looks.signatures, vectors)
    assert twins(near).twin.tolist() == [-1, 0, -1]  # the clock is a neighbour too, and shows something else


def test_held_out_rows_stay_and_a_copy_of_one_is_dropped_whatever_is_kept():
    looks = looks_of(noise(0), noise(0), recompressed(noise(1, 200)), noise(1, 200))
    assert twins(looks, held_out=2).twin.tolist() == [-1, -1, -1, 2]
    everything = frozenset(KINDS)
    assert twins(looks, held_out=1, keep=everything).twin.tolist() == [-1, 0, -1, -1]
    assert twins(looks, held_out=3, keep=everything).twin.tolist() == [-1, -1, -1, 2]


def test_a_twin_that_is_dropped_itself_passes_on_to_its_own():
    """0 is near 1 and 1 near 2, but 0 is not near 2: all of them lead to 0."""
    looks = looks_of(noise(0), noise(1), noise(2))
    looks.hashes[:] = [0b0, 0b1111_1111, 0b1_1111_1111_1111]
    looks.signatures[:] = looks.signatures[0]
    looks.files[:], looks.pixels[:] = [1, 2, 2], [1, 2, 2]
    assert twins(looks, mirrored=False).twin.tolist() == [-1, 0, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=25), st.integers(0, 5))
def test_who_stays_shows_nothing_that_another_shows(kinds, held_out):
    copies = [lambda p: p, lambda p: recompressed(p, 60), mirrored, lambda p: p.resize((80, 80))]
    pictures = [copies[copy](noise(seed)) for seed, copy in kinds]
    if not pictures:
        return
    held_out = min(held_out, len(pictures))
    looks = looks_of(*pictures)
    found = twins(looks, held_out=held_out)
    stays = np.flatnonzero(found.twin < 0)
    assert set(range(held_out)) <= set(stays.tolist())
    trained = [place for place in stays if place >= held_out]
    assert len({kinds[place][0] for place in trained}) == len(trained)
    for place in np.flatnonzero(found.twin >= 0):
        assert found.twin[place] < place
        assert found.twin[found.twin[place]] == -1
        assert kinds[found.twin[place]][0] == kinds[place][0]


def test_four_thousand_pictures_of_one_thing_take_no_time_and_no_memory():
    random = np.random.default_rng(0)
    one = looks_of(noise(0))
    signatures = np.repeat(one.signatures, 4_000, axis=0)
    signatures[:, 0, 0, 0] = random.integers(0, 256, 4_000)
    hashes = one.hashes[0] ^ (np.uint64(1) << random.integers(0, 64, 4_000).astype(np.uint64))
    numbers = np.arange(4_000, dtype=np.uint64)
    start = time.process_time()
    found = twins(Looks(numbers, numbers, hashes, signatures))
    assert (found.twin[1:] == 0).all()
    assert time.process_time() - start < 5


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_rows(count):
    looks = looks_of(noise(0))
    found = find_duplicates(looks, np.arange(count), held_out=0, settings=CleanSettings())
    assert found.twin.tolist() == [-1] * count


def test_mirrored_similarity_is_what_the_twin_says():
    looks = looks_of(noise(0, 200), mirrored(noise(0, 200)))
    found = twins(looks)
    expected = similarity(looks.signatures[:1], looks.signatures[1:], mirrored=True)[0]
    assert found.alike[1] == pytest.approx(expected)
