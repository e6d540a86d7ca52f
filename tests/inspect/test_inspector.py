import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from tests.inspect.conftest import PlainEncoder, part, spot_of

from anmok.errors import FingerprintMismatch, InspectionError, PictureError
from anmok.feature_cache import FeatureCache
from anmok.inspect import Inspector
from anmok.inspect.fitting import FEW


@pytest.fixture(scope="module")
def fitted():
    return Inspector.fit(PlainEncoder(), [part(seed) for seed in range(24)])


def test_finds_the_fault_and_where_it_is(fitted):
    for seed in range(200, 212):
        (found,) = fitted.inspect(part(seed, fault=True))
        x, y = spot_of(seed)
        box = found.boxes[0]
        assert found.fault and found.p_value == 1 / 25
        assert box.left <= x + 4.5 <= box.right and box.top <= y + 4.5 <= box.bottom
        assert found.heat.shape == fitted.tiling.canvas and found.heat.max() > 1


def test_a_good_part_is_no_fault(fitted):
    found = fitted.inspect([part(seed) for seed in range(100, 130)])
    assert np.mean([one.fault for one in found]) <= 0.2
    assert all(one.boxes == () for one in found if not one.fault)
    assert not fitted.drift(found).moved


@pytest.mark.parametrize("count", [2, 5, 20])
def test_false_alarms_are_as_promised(count):
    """Many fits, each on other good parts, held against other good parts: within the binomial interval.

    The plain encoder and parts that differ in one number make the fits cheap; the scores are as random as any.
    """
    encoder, alarms, looked = PlainEncoder(), 0, 0
    for seed in range(30):
        rng = np.random.default_rng((count, seed))
        shades = [np.full((48, 48, 3), shade, np.uint8) + rng.integers(0, 9, (48, 48, 3), np.uint8)
                  for shade in rng.integers(90, 110, count + 8)]  # fmt: skip
        inspector = Inspector.fit(encoder, shades[:count], false_alarms=0.1, max_tiles=1)
        promise = np.floor(inspector.promised * (count + 1) + 1e-9) / (count + 1)
        alarms += sum(found.fault for found in inspector.inspect(shades[count:]))
        looked += 8
    # The 8 of one fit share its threshold, so they vary more than independent ones: a wide interval.
    low, high = stats.binom.interval(0.999, looked, promise)
    assert 0.6 * low <= alarms <= 1.3 * high


def test_few_pictures_are_said_to_be_few():
    few = Inspector.fit(PlainEncoder(), [part(seed) for seed in range(4)])
    assert few.method == "few-shot" and few.promised == 1 / 5 and few.memory.folds == 4
    assert few.inspect(part(300, fault=True))[0].fault
    assert Inspector.fit(PlainEncoder(), [part(seed) for seed in range(FEW + 1)]).method == "patch memory"


def test_one_picture_goes_on_and_promises_nothing():
    single = Inspector.fit(PlainEncoder(), [part(0)])
    assert single.method == "few-shot" and single.promised is None and single.turned
    (found,) = single.inspect(part(300, fault=True))
    assert found.fault and found.p_value is None


def test_turned_copies_where_parts_are_turned():
    encoder = PlainEncoder()
    blobs = Image.fromarray(np.random.default_rng(0).integers(60, 200, (9, 9, 3), np.uint8))
    printed = np.asarray(blobs.resize((96, 96), Image.Resampling.BICUBIC).point(lambda value: min(value, 240)))
    noise = np.random.default_rng(1).integers(0, 6, (5, 96, 96, 3), np.uint8)
    assert not Inspector.fit(encoder, list(printed + noise)).turned
    assert Inspector.fit(encoder, [np.rot90(printed, k) + noise[k] for k in range(4)]).turned


@pytest.mark.parametrize("mib", [1, 2])
def test_memory_stays_within_its_budget(mib, monkeypatch):
    """With wide features, so that the budget is what binds."""
    encoder = PlainEncoder()
    plain = encoder.features
    monkeypatch.setattr(
        encoder, "features", lambda *a, **k: SimpleNamespace(local=np.repeat(plain(*a, **k).local, 300, axis=-1))
    )
    inspector = Inspector.fit(encoder, [part(seed) for seed in range(12)], memory_mib=mib)
    assert 0.85 * mib < inspector.memory.mib <= mib


def test_a_third_is_held_out_where_it_is_enough():
    shades = [np.full((48, 48, 3), 100 + k % 7, np.uint8) for k in range(60)]
    inspector = Inspector.fit(PlainEncoder(), shades, false_alarms=0.1)
    assert inspector.memory.folds == 1 and len(inspector.good) == 20


def test_same_pictures_same_inspector():
    pictures = [part(seed) for seed in range(10)]
    first, second = (Inspector.fit(PlainEncoder(), pictures) for _ in range(2))
    np.testing.assert_array_equal(first.memory.features, second.memory.features)
    assert first.threshold == second.threshold


class TestBadPictures:
    def test_are_listed_and_the_rest_goes_on(self, fitted, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        found = fitted.inspect([part(1), tmp_path / "broken.png", part(2)], on_error="skip")
        assert [one.error is None for one in found] == [True, False, True]
        assert "not a picture" in found[1].error and not found[1].fault

    @pytest.mark.parametrize("count", [3, 15])
    def test_are_left_out_of_the_fit(self, count, tmp_path):
        pictures = [b"", *(part(seed) for seed in range(count)), tmp_path / "missing.png"]
        inspector = Inspector.fit(PlainEncoder(), pictures, on_error="skip")
        assert inspector.pictures == count
        assert [failure.index for failure in inspector.failed] == [0, count + 1]
        with pytest.raises(PictureError, match="empty"):
            Inspector.fit(PlainEncoder(), pictures)

    @pytest.mark.parametrize(("pictures", "reason"), [([], "there are no pictures"), ([b"", b"x"], "none of the 2")])
    def test_no_good_picture_at_all(self, pictures, reason):
        with pytest.raises(InspectionError, match=reason):
            Inspector.fit(PlainEncoder(), pictures, on_error="skip")

    def test_one_is_too_few_for_a_patch_memory(self):
        with pytest.raises(InspectionError, match="two"):
            Inspector.fit(PlainEncoder(), [part(0)], method="patch memory")

    @pytest.mark.parametrize("option", [{"false_alarms": 0}, {"memory_mib": 0}, {"max_tiles": 0}])
    def test_bad_options(self, option):
        with pytest.raises(InspectionError, match=next(iter(option))):
            Inspector.fit(PlainEncoder(), [part(0)], **option)


class TestSaved:
    def test_is_the_same_when_opened(self, fitted, tmp_path):
        fitted.save(tmp_path / "deep" / "nuts")
        opened = Inspector.load(tmp_path / "deep" / "nuts", PlainEncoder())
        before, after = (one.inspect(part(201, fault=True))[0] for one in (fitted, opened))
        assert (before.score, before.p_value, before.boxes) == (after.score, after.p_value, after.boxes)
        assert sorted(path.name for path in (tmp_path / "deep" / "nuts").iterdir()) == [
            "inspector.json",
            "memory.safetensors",
        ]

    def test_another_encoder_is_refused(self, fitted, tmp_path):
        fitted.save(tmp_path)
        other = PlainEncoder()
        other.fingerprint = "other"
        with pytest.raises(FingerprintMismatch, match="plain-1"):
            Inspector.load(tmp_path, other)

    @pytest.mark.parametrize("name", ["inspector.json", "memory.safetensors"])
    @pytest.mark.parametrize("damage", [bytes.upper, lambda content: content[:-20], None])
    def test_damage_is_seen(self, fitted, tmp_path, name, damage):
        fitted.save(tmp_path)
        path = tmp_path / name
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InspectionError):
            Inspector.load(tmp_path, PlainEncoder())

    def test_a_newer_one_is_refused(self, fitted, tmp_path):
        fitted.save(tmp_path)
        facts = json.loads((tmp_path / "inspector.json").read_text())
        (tmp_path / "inspector.json").write_text(json.dumps({**facts, "format": 2}))
        with pytest.raises(InspectionError, match="another anmok"):
            Inspector.load(tmp_path, PlainEncoder())


def test_with_a_cache_every_tile_is_encoded_once(tiny_encoder, monkeypatch, tmp_path):
    pictures, asked, features = [part(seed) for seed in range(FEW + 4)], [], tiny_encoder.features
    monkeypatch.setattr(tiny_encoder, "features", lambda tiles, **how: asked.extend(tiles) or features(tiles, **how))
    plain = Inspector.fit(tiny_encoder, pictures)
    twice, asked[:] = len(asked), []
    cached = Inspector.fit(tiny_encoder, pictures, cache=FeatureCache(tiny_encoder, tmp_path))
    assert twice == 1 + 2 * len(asked[1:])  # the first is a blank tile, to see what its features are like
    assert np.allclose(cached.good, plain.good, rtol=0.05)  # in half precision the coreset may take a neighbour
    asked[:] = []
    again = Inspector.fit(tiny_encoder, pictures, cache=FeatureCache(tiny_encoder, tmp_path))
    assert len(asked) == 1 and np.array_equal(again.good, cached.good)
