"""Honest scores: what they mean, what they do not depend on, and the cache of competing texts."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anmok import everyday, scores
from anmok.embeddings import Embeddings, unit
from anmok.errors import FingerprintMismatch
from anmok.everyday import everyday_pictures, everyday_texts

D = 48


class FakeEncoder:
    """Texts and pictures in fixed random directions; counts how often it is asked."""

    fingerprint = "a" * 16
    dimension = D

    def __init__(self):
        self.calls = 0

    def reads(self, texts) -> bool:
        return True

    def encode_text(self, texts):
        self.calls += 1
        return directions(1, len(texts))

    def encode_image(self, pictures):
        assert all(picture.shape == (96, 96, 3) and picture.dtype == np.uint8 for picture in pictures)
        return directions(2, len(pictures))


def directions(seed, count):
    return Embeddings(unit(np.random.default_rng(seed).normal(size=(count, D))), FakeEncoder.fingerprint)


@pytest.fixture(scope="module")
def background():
    return scores.Background(directions(1, 300), directions(2, 100))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_one_unrelated_pair_in_a_hundred_matches(background):
    reached = background.match(background.pictures, background.texts) >= scores.THRESHOLD
    assert reached.mean() == pytest.approx(0.01, abs=1e-4)
    assert (background.match(directions(3, 200), directions(4, 200)) >= scores.THRESHOLD).mean() < 0.02


def test_match_is_the_formula(background):
    pictures, texts = directions(3, 4), directions(4, 5)
    unrelated = background.pictures @ background.texts
    far = (pictures @ texts - np.quantile(unrelated, 0.99)) / unrelated.std()
    np.testing.assert_allclose(background.match(pictures, texts), 1 / (1 + np.exp(-4 * far)), atol=1e-5)
    np.testing.assert_array_equal(background.match_cosines(pictures @ texts), background.match(pictures, texts))


def test_equal_matches_and_opposite_does_not(background):
    texts = directions(4, 6)
    opposite = Embeddings(-texts.vectors, texts.fingerprint)
    assert np.diag(background.match(texts, texts)).min() > 0.99
    assert np.diag(background.match(opposite, texts)).max() < 0.01


@hypothesis_settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.05, 1), shift=st.floats(-0.3, 0.3), seed=st.integers(0, 1000))
def test_match_does_not_depend_on_where_an_encoder_keeps_its_cosines(background, scale, shift, seed):
    """Encoders differ in the range of their cosines; the same world seen on another scale gets the same matches."""
    pictures, texts = directions(seed, 3), directions(seed + 1, 4)

    class Moved(Embeddings):
        def __matmul__(self, other):
            return scale * super().__matmul__(other) + shift

    def moved(embeddings):
        return Moved(embeddings.vectors, embeddings.fingerprint)

    there = scores.Background(moved(background.texts), moved(background.pictures))
    expected = background.match(pictures, texts)
    np.testing.assert_allclose(there.match(moved(pictures), moved(texts)), expected, atol=2e-3)


def test_pictures_do_not_depend_on_each_other(background):
    pictures, texts = directions(3, 10), directions(4, 3)
    together = background.match(pictures, texts)
    one = background.match(pictures[2], texts[1])
    np.testing.assert_allclose(one[0, 0], together[2, 1], atol=1e-6)


def test_one_unrelated_pair_of_pictures_in_a_hundred_matches(background):
    cosines = (background.pictures @ background.pictures)[np.triu_indices(len(background.pictures), 1)]
    reached = background.match_cosines(cosines, ((1.0, "picture"),)) >= scores.THRESHOLD
    assert reached.mean() == pytest.approx(0.01, abs=1e-3)


def test_one_unrelated_arithmetic_in_a_hundred_matches(background):
    rng = np.random.default_rng(9)
    texts, pictures = directions(1, 300).vectors, directions(2, 100).vectors
    rows, columns = rng.integers(0, 300, 3000), rng.integers(0, 50, 3000)
    queries = unit(2 * texts[rows] - pictures[columns])
    others = pictures[rng.integers(50, 100, 3000)]
    reached = background.match_cosines((queries * others).sum(axis=1), ((2.0, "text"), (-1.0, "picture")))
    assert (reached >= scores.THRESHOLD).mean() == pytest.approx(0.01, abs=0.006)


def test_english_encoder_is_not_asked_korean(home):
    class English(FakeEncoder):
        fingerprint = "e" * 16

        def reads(self, texts):
            return not any("가" <= letter <= "힣" for text in texts for letter in text)

    assert len(scores.background(English()).texts) == len(everyday_texts()) // 2


def test_nothing_gives_nothing(background):
    assert background.match(directions(3, 0), directions(4, 2)).shape == (0, 2)
    assert background.match(directions(3, 2), directions(4, 0)).shape == (2, 0)


def test_other_encoder_is_refused(background):
    other = Embeddings(directions(3, 1).vectors, "b" * 16)
    with pytest.raises(FingerprintMismatch):
        background.match(directions(3, 1), other)
    with pytest.raises(FingerprintMismatch):
        background.match(other, other)


def test_background_is_two_languages_and_no_text_twice():
    texts = everyday_texts()
    korean = [text for text in texts if any("가" <= letter <= "힣" for letter in text)]
    assert 200 <= len(texts) <= 1000
    assert len(korean) * 2 == len(texts)
    assert len(set(texts)) == len(texts)


def test_every_picture_of_the_sheet_has_its_source():
    rows = list(csv.DictReader((everyday.DATA / "background.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(everyday_pictures()) == 96
    assert [(int(row["row"]), int(row["column"])) for row in rows] == [(1 + n // 12, 1 + n % 12) for n in range(96)]
    assert all(row["license"] for row in rows)
    assert all(row["credit"] for row in rows if row["license"].startswith("CC-BY") and "emoji" not in row["source"])


def test_background_is_encoded_once_per_encoder(home):
    encoder = FakeEncoder()
    first = scores.background(encoder)
    again = scores.background(encoder)
    assert encoder.calls == 1
    assert first.texts.fingerprint == first.pictures.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(first.texts.vectors, again.texts.vectors)
    np.testing.assert_array_equal(first.pictures.vectors, again.pictures.vectors)
    np.testing.assert_allclose(first.texts.vectors, directions(1, len(first.texts)).vectors, atol=1e-3)
    other = FakeEncoder()
    other.fingerprint = "b" * 16
    scores.background(other)
    assert other.calls == 1


@pytest.mark.parametrize("damage", [b"", b"not numpy", None])
def test_damaged_background_is_encoded_again(home, damage):
    encoder = FakeEncoder()
    scores.background(encoder)
    (path,) = (home / "backgrounds").iterdir()
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert len(scores.background(encoder).texts) == len(everyday_texts())
    assert encoder.calls == 2
    scores.background(encoder)
    assert encoder.calls == 2


def test_home_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "file" / "home"))
    assert len(scores.background(FakeEncoder()).pictures) == 96


def test_shipped_background_takes_the_place_of_an_older_one(tmp_path, monkeypatch, home):
    monkeypatch.setattr(scores, "SHIPPED", tmp_path / "shipped")
    encoder = FakeEncoder()
    first = scores.ship_background(encoder)
    encoder.fingerprint = "c" * 16
    second = scores.ship_background(encoder)
    assert list((tmp_path / "shipped").iterdir()) == [second] != [first]
    calls = encoder.calls
    assert len(scores.background(encoder).texts) == len(everyday_texts())
    assert encoder.calls == calls
    assert not home.exists()
