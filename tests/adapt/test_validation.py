import numpy as np
import pytest

from anmok.adapt.head import Head
from anmok.adapt.methods import Prompts, ZeroShot
from anmok.adapt.probe import Probe
from anmok.adapt.tip_adapter import TipAdapter
from anmok.adapt.validation import Checked, check, choose, deal, held_out_logits, learn


class Cheat:
    """Remembers what it was shown: right on examples, chance on others."""

    name = "cheat"
    settings = ("",)

    def fit(self, known, only=None):
        words = Head.linear(np.random.default_rng(99).normal(size=known.words.shape))
        return [words.remembering(known.vectors, known.one_hot, strength=1e6, sharpness=1e6)]


class Noise:
    """Many settings, all of them chance: the best of them looks good by luck."""

    name = "noise"
    settings = tuple(map(str, range(20)))

    def fit(self, known, only=None):
        heads = [Head.linear(np.random.default_rng(100 + i).normal(size=known.words.shape)) for i in range(20)]
        return heads if only is None else heads[only : only + 1]


def test_what_was_seen_does_not_count(make_world):
    world = make_world(list("abcd"), wrong=0.2, noise=0.15)
    known = world.known(np.repeat(range(4), 20))
    zero_shot, cheat = check([ZeroShot(), Cheat()], known, deal(known, seed=0))
    assert zero_shot.accuracy > 0.8
    assert cheat.accuracy < 0.6


def test_choosing_among_many_settings_does_not_flatter(make_world):
    """Chosen and judged on the same pictures, the best of twenty chances would be well above a quarter."""
    flattered, honest = [], []
    for seed in range(12):
        world = make_world(list("abcd"), seed=seed)
        known = world.known(np.repeat(range(4), 4), seed=seed)
        known = type(known)(
            known.vectors[np.random.default_rng(seed).permutation(16)],
            known.columns, known.targets, known.texts, known.scale,
        )  # fmt: skip
        folds = deal(known, seed=seed)
        (noise,) = check([Noise()], known, folds)
        honest.append(noise.accuracy)
        logits = held_out_logits(Noise(), known, folds.numbers[0])
        flattered.append((logits.argmax(axis=2) == known.targets).mean(axis=1).max())
    assert np.mean(flattered) > 0.4
    assert np.mean(honest) < 0.35


@pytest.mark.parametrize("seed", range(5))
def test_words_that_are_right_already_are_kept(make_world, seed):
    """The guard: where nothing can be gained, what is taken is no worse than words on new pictures."""
    world = make_world(list("abcdef"), wrong=0.0, noise=0.2, seed=seed)
    known = world.known(np.repeat(range(6), 3), seed=seed)
    chosen = choose(check([ZeroShot(), Prompts(("small",)), TipAdapter(), Probe()], known, deal(known, seed=seed)))
    targets = np.repeat(range(6), 100)
    fresh = world.draw(targets, 77)
    words = (fresh @ world.words.T).argmax(axis=1) == targets
    found = learn(chosen, known).logits(fresh).argmax(axis=1) == targets
    assert found.mean() >= words.mean() - 0.02


@pytest.mark.parametrize("seed", range(3))
def test_wrong_words_are_mended(make_world, seed):
    world = make_world(list("abcdef"), wrong=1.5, noise=0.2, seed=seed)
    known = world.known(np.repeat(range(6), 8), seed=seed)
    chosen = choose(check([ZeroShot(), TipAdapter(), Probe()], known, deal(known, seed=seed)))
    assert chosen.name != "zero-shot"
    targets = np.repeat(range(6), 50)
    fresh = world.draw(targets, 5)
    zero_shot = ((fresh @ world.words.T).argmax(axis=1) == targets).mean()
    assert (learn(chosen, known).logits(fresh).argmax(axis=1) == targets).mean() > zero_shot + 0.1


def test_held_out_logits_are_those_of_a_head_learned_without(make_world):
    world = make_world(list("abc"))
    known = world.known([0, 1, 2, 0, 1, 2])
    numbers = np.array([0, 0, 0, 1, 1, 1])
    logits = held_out_logits(Probe(), known, numbers)
    expected = Probe().fit(known.take(numbers == 1))[3].logits(known.vectors[:3])
    np.testing.assert_allclose(logits[3, :3], expected, atol=1e-9)


def test_one_example_of_each_can_be_checked_and_does_not_beat_words(make_world):
    world = make_world(list("abcd"), wrong=0.2, noise=0.15)
    known = world.known(range(4))
    checked = check([ZeroShot(), TipAdapter(), Probe()], known, deal(known, seed=0))
    assert all(np.isfinite(one.losses).all() for one in checked)
    assert choose(checked).name in ("zero-shot", "Tip-Adapter")


def test_an_encoder_of_its_own_must_be_worth_it(make_world):
    """As good as the probe, or likelier, is not enough to ship other towers; surely better is."""
    world = make_world(list("abcd"), wrong=1.5, noise=0.45)
    known = world.known(np.repeat(range(4), 20))
    zero_shot, probe = check([ZeroShot(), Probe()], known, deal(known, seed=0))
    assert choose([zero_shot, probe]) is probe
    equal = Checked("LoRA", "", 1.0, 3 * probe.logits, known.targets, 0.0)
    assert choose([zero_shot, probe, equal]) is probe
    right = Checked("LoRA", "", 1.0, np.eye(4)[known.targets][None] * 9, known.targets, 0.0)
    assert probe.accuracy < 0.95 and choose([zero_shot, probe, right]) is right
