import numpy as np
import pytest

from anmok.clean.matching import TextMatcher, lowest
from anmok.embeddings import Embeddings


def test_cosines_are_those_of_each_picture_with_its_own_texts(photos, mini):
    pictures = mini.encode_image([photos["photo-cat"], photos["photo-galaxies"]])
    texts = [["a cat", "고양이"], ["stars and galaxies"]]
    found = TextMatcher(mini).cosines(pictures, texts)
    for own, vector, cosines in zip(texts, pictures.vectors, found, strict=True):
        expected = Embeddings(vector[None], mini.fingerprint) @ mini.encode_text(own)
        assert cosines == pytest.approx(expected[0], abs=1e-5)


def test_texts_that_the_model_cannot_read_are_not_judged(photos, tiny_encoder):
    pictures = tiny_encoder.encode_image([photos["photo-cat"]])
    cosines = TextMatcher(tiny_encoder).cosines(pictures, [["고양이", "a cat"]])[0]
    assert np.isnan(cosines[0])
    assert np.isfinite(cosines[1])
    assert np.isnan(TextMatcher(tiny_encoder).cosines(pictures, [["고양이"]])[0]).all()


def test_lowest_are_a_share_of_what_was_judged():
    cosines = np.array([0.5, np.nan, 0.1, 0.3, 0.2, np.nan], np.float32)
    assert lowest(cosines, 0.5).tolist() == [2, 4]
    assert lowest(cosines, 0.24).tolist() == []
    assert lowest(cosines, 1).tolist() == [0, 2, 3, 4]
    assert lowest(np.full(3, np.nan, np.float32), 1).tolist() == []


def test_of_equal_ones_the_first_go():
    assert lowest(np.array([1, 0, 0, 0], np.float32), 0.5).tolist() == [1, 2]
