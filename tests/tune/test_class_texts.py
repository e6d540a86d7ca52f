import numpy as np

from anmok.texts import Tokenizer
from anmok.tune.class_texts import ClassTexts

TEXTS = [["a cat", "cat", "a cat"], ["a dog", "dog", "a photo of a dog"], ["a cat"]]


def test_a_class_is_the_mean_of_its_different_texts_and_equal_texts_are_encoded_once():
    ids, means = ClassTexts(Tokenizer.clip(), TEXTS).all()
    assert len(ids) == 5
    assert np.allclose(means.sum(axis=1), 1)
    assert sorted(means[0].tolist()) == [0, 0, 0, 0.5, 0.5]
    assert means[2].max() == 1
    assert means[0].argmax() == means[2].argmax() == 0


def test_what_is_drawn_depends_on_the_random_numbers_alone():
    texts = ClassTexts(Tokenizer.clip(), TEXTS)
    seen = set()
    for seed in range(20):
        ids, means = texts.drawn(2, np.random.default_rng(seed))
        again, _ = texts.drawn(2, np.random.default_rng(seed))
        assert np.array_equal(ids, again)
        assert (means > 0).sum(axis=1).tolist() == [2, 2, 1]
        seen.add(tuple(map(tuple, ids.tolist())))
    assert len(seen) > 1
    everything = texts.drawn(0, np.random.default_rng(0))
    assert all(np.array_equal(one, other) for one, other in zip(everything, texts.all(), strict=True))
