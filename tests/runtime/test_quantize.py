"""Products in 8 bits: near to float32, the same alone and in a batch, and careful where it matters."""

import numpy as np
import pytest

from anmok.runtime.choice import tower_graph
from anmok.runtime.onnxruntime import open_session
from anmok.runtime.quantize import calibrate, quantize
from anmok.runtime.trial import Trial, embed


def calibrated(checkpoint, tower):
    trial = Trial(checkpoint, tower)

    def run(graph, names):
        session = open_session(graph, threads=1)
        for feed in trial.calibration():
            yield session.run(names, feed)

    return calibrate(tower_graph(checkpoint, tower), run)


def cosines(checkpoint, tower, graph):
    trial = Trial(checkpoint, tower)
    exact = embed(open_session(tower_graph(checkpoint, tower), threads=1), trial.judged(), "exact")
    found = embed(open_session(graph, threads=1), trial.judged(), "rounded")
    return (exact * found).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)


def kinds_of(graph):
    return [node.op_type for node in graph.model.graph.node]


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_rounded_towers_stay_near(checkpoint, tower, kept):
    known = calibrated(checkpoint, tower)
    graph = quantize(known, kept=kept)
    assert cosines(checkpoint, tower, graph).min() > 0.99
    assert kinds_of(graph).count("MatMulNBits") == round(kept * len(known.products))
    rounded = [name for name, array in graph.initializers.items() if array.dtype == np.int8 and array.ndim == 2]
    assert len(rounded) == len(known.products) - round(kept * len(known.products))


@pytest.mark.parametrize(("exactly", "largest"), [(True, 127), (False, 63)])
def test_weights_leave_room_for_sums_that_have_16_bits(checkpoint, monkeypatch, exactly, largest):
    monkeypatch.setattr("anmok.runtime.quantize.sums_8_bits_exactly", lambda: exactly)
    graph = quantize(calibrated(checkpoint, "image"))
    weights = [array for array in graph.initializers.values() if array.dtype == np.int8 and array.ndim == 2]
    assert {int(np.abs(one).max()) for one in weights} == {largest}
    assert exactly or 2 * 255 * largest < 2**15


def test_products_kept_in_float_are_untouched(checkpoint):
    known = calibrated(checkpoint, "image")
    assert kinds_of(quantize(known, kept=1.0, kept_in_blocks=False)) == kinds_of(known.graph)
    assert cosines(checkpoint, "image", quantize(known, kept=1.0, kept_in_blocks=False)).min() > 0.99999


def test_the_careful_half_loses_less(checkpoint):
    known = calibrated(checkpoint, "image")
    all_coarse, half = (cosines(checkpoint, "image", quantize(known, kept=kept)).mean() for kept in (0.0, 0.5))
    assert half > all_coarse


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_an_embedding_does_not_depend_on_its_batch(checkpoint, kept):
    session = open_session(quantize(calibrated(checkpoint, "image"), kept=kept), threads=1)
    (feed, *_) = Trial(checkpoint, "image").judged()
    together = session.run(["embedding"], feed)[0]
    alone = np.concatenate([session.run(["embedding"], {"pixels": one[None]})[0] for one in feed["pixels"]])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_outlier_channels_after_a_norm_are_made_even(checkpoint, uneven):
    known = calibrated(uneven, "image")
    after_norms = [one.node for one in known.products if one.norm]
    assert len(after_norms) >= 3
    assert all(known.strength[node] > 0 for node in after_norms if known.loss[node] > 0.001)
    even = cosines(uneven, "image", quantize(known)).mean()
    as_they_are = cosines(uneven, "image", quantize(without_evening(known))).mean()
    assert 1 - even < 0.2 * (1 - as_they_are)


def without_evening(known):
    from dataclasses import replace

    return replace(known, strength=dict.fromkeys(known.strength, 0.0))


def test_small_products_are_left_alone(tiny_checkpoint):
    assert not calibrated(tiny_checkpoint, "image").products  # 32 wide
