"""The figures of the inspection benchmark, against scikit-learn and by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import auc, roc_auc_score, roc_curve

FILE = Path(__file__).parents[2] / "benchmarks" / "detection.py"
spec = importlib.util.spec_from_file_location("detection", FILE)
detection = importlib.util.module_from_spec(spec)
spec.loader.exec_module(detection)
aupro, auroc, regions = detection.aupro, detection.auroc, detection.regions
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [True, False])
def test_auroc_is_scikit_learns(ties):
    truth, scores = RNG.random(300) < 0.3, RNG.normal(size=300)
    scores = np.round(scores, 1) if ties else scores
    assert auroc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_regions_are_scipys():
    mask = RNG.random((20, 30)) < 0.3
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    expected = sorted(np.flatnonzero(labels == k).tolist() for k in range(1, count + 1))
    assert sorted(np.flatnonzero(region).tolist() for region in regions(mask)) == expected


@pytest.mark.parametrize("ties", [True, False])
def test_aupro_with_one_region_is_the_partial_area_of_scikit_learns_curve(ties):
    """One region: its overlap is the true positive rate."""
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 5:9, 5:12] = True
    maps = RNG.normal(size=mask.shape) + mask
    maps = np.round(maps, 1) if ties else maps
    false, true, _ = roc_curve(mask.ravel(), maps.ravel(), drop_intermediate=False)
    inside = false <= 0.3
    area = auc(np.append(false[inside], 0.3), np.append(true[inside], np.interp(0.3, false, true)))
    assert aupro(mask, maps) == pytest.approx(area / 0.3, abs=1e-9)


def test_aupro_counts_regions_not_pixels():
    """A large region that is found and a small one that is not: one half, not nine tenths."""
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :9, :10] = mask[0, 15:17, 15:20] = True
    maps = np.zeros(mask.shape)
    maps[0, :9, :10], maps[0, 15:17, 15:20] = 1, -1
    assert aupro(mask, maps) == pytest.approx(0.5, abs=0.01)


def test_a_perfect_map():
    mask = RNG.random((3, 12, 12)) < 0.1
    assert aupro(mask, mask.astype(float)) == pytest.approx(1)
