"""Progress is told to whoever listens, and to nobody else."""

import pytest

from anmok import progress


def test_reports_reach_the_listener_in_order():
    reports = []
    with progress.listen(reports.append), progress.task("reading", 3) as advance:
        advance(1)
        advance(2)
    assert [(r.done, r.finished) for r in reports] == [(0, False), (1, False), (3, False), (3, True)]
    assert all(r.name == "reading" and r.total == 3 for r in reports)


def test_without_a_listener_nothing_happens():
    with progress.task("reading") as advance:
        advance(1)


def test_a_task_that_fails_is_finished():
    reports = []
    with pytest.raises(KeyError), progress.listen(reports.append), progress.task("reading", 3):
        raise KeyError
    assert reports[-1].finished


def test_a_sign_of_life_reports_and_counts_nothing():
    reports = []
    with progress.listen(reports.append), progress.task("reading", 3) as advance:
        advance(2)
        advance(0)
    assert [report.done for report in reports] == [0, 2, 2, 2]


def test_a_listener_may_end_the_work():
    def refuse(report):
        if report.done and not report.finished:
            raise KeyError(report.done)

    with pytest.raises(KeyError, match="2"), progress.listen(refuse), progress.task("reading", 3) as advance:
        advance(2)
