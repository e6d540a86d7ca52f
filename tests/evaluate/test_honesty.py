"""Whether scores are honest, asked of an encoder that sees everything and of one that sees nothing."""

import numpy as np
import pytest

from anmok.evaluate import evaluate_scores
from anmok.evaluate.honesty import METHODS

QUESTIONS = ("pairs", "search", "search in 10", "none of these")


@pytest.fixture
def shard(tmp_path, write_shard):
    rows = [
        (f"thing {n % 8}".encode(), {"source": "things", "labels": [f"t{n % 8}"], "captions_en": [f"thing {n % 8}"]})
        for n in range(40)
    ]
    return write_shard(tmp_path / "things.tar", rows)


def test_methods_separate_for_one_who_sees(shard, encoder):
    found = evaluate_scores(encoder, shard, templates="none")
    for question in QUESTIONS:
        for method in ("cosine", "dual softmax", "match"):
            assert found.get(f"{question}: {method}", "AUROC").value == 1.0
            assert found.get(f"{question}: {method}", "false alarms at 80% found").value == 0.0


def test_no_method_separates_for_one_who_does_not(shard, blind_encoder):
    found = evaluate_scores(blind_encoder, shard)
    for question in QUESTIONS:
        for method in METHODS:
            result = found.get(f"{question}: {method}", "AUROC")
            assert result.value == pytest.approx(0.5, abs=0.01)
            assert np.isfinite([result.low, result.high]).all()


def test_names_and_pictures_of_other_data_sets_are_absent(tmp_path, write_shard, encoder):
    def rows(kind):
        facts = [{"source": kind, "labels": [f"{kind}{n % 4}"], "captions_en": [f"{kind} {n % 4}"]} for n in range(12)]
        return [(one["captions_en"][0].encode(), one) for one in facts]

    write_shard(tmp_path / "a.tar", rows("a"))
    write_shard(tmp_path / "b.tar", rows("b"))
    found = evaluate_scores(encoder, tmp_path, templates="none")
    # per set and draw: 2 of 4 classes kept, 6 of 12 pictures; the other set has 4 names and 12 pictures
    assert found.get("strangers: match", "AUROC").details == {"present": 2 * 4 * 2, "absent": 2 * 4 * 4}
    assert found.get("foreigners: match", "AUROC").details == {"present": 2 * 4 * 6, "absent": 2 * 4 * 12}
    for question in ("strangers", "foreigners"):
        assert found.get(f"{question}: match", "AUROC").value == 1.0
        assert found.get(f"{question}: match", "false alarms at the threshold").value <= 0.1


def test_counts_are_of_the_protocol(shard, encoder):
    found = evaluate_scores(encoder, shard)
    # 4 draws: 4 of 8 classes kept; each class has 5 of the 40 pictures
    assert found.get("search: match", "AUROC").details == {"present": 16, "absent": 16}
    assert found.get("none of these: match", "AUROC").details == {"present": 80, "absent": 80}
    assert found.get("search: match", "found at the threshold").value == 1.0
    assert found.get("search: match", "false alarms at the threshold").value == 0.0
