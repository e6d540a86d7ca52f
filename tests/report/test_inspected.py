"""The page of an inspection."""

import numpy as np

from anmok.inspect import Box, Inspection
from anmok.report.inspected import InspectedPage, part_of, scale_of, write_inspected

PICTURE = np.full((40, 80, 3), 200, np.uint8)


def found(name, score, *, fault):
    heat = np.zeros((40, 80), np.float32)
    heat[10:20, 20:40] = 2 if fault else 0.1
    boxes = (Box(20, 10, 40, 20, 2.0),) if fault else ()
    return Inspection(name, score=score, p_value=0.5, fault=fault, boxes=boxes, heat=heat, size=(80, 40))


def test_shows_faults_with_boxes_and_heat(tmp_path):
    inspections = [found("<b>a.png", 3.0, fault=True), found("b.png", 1.0, fault=False)]
    parts = [part_of(PICTURE, one, "note") for one in inspections]
    scale = scale_of(inspections, np.array([0.9, 1.1], np.float32), 1.5)
    page = InspectedPage("Found", faults=parts[:1], sound=parts[1:], scale=scale, warning="moved")
    html = write_inspected(page, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "left: 25.00%; top: 25.00%; width: 25.00%; height: 25.00%" in html
    assert html.count("data:image/webp") == 1, "a map with nothing in it is left out"
    assert "&lt;b&gt;a" in html and "<b>a" not in html and "http" not in html and "moved" in html


def test_broken_pictures_are_listed(tmp_path):
    part = part_of(b"", Inspection("x.png", error="is empty"), "")
    html = write_inspected(InspectedPage("Found", broken=[part]), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "x.png: is empty" in html and "No fault was found" in html


def test_scale_spans_all_scores():
    scale = scale_of([found("a", 100.0, fault=True), found("b", 1.0, fault=False)], np.array([1.0], np.float32), 10.0)
    assert (scale.good, scale.sound, scale.faults) == ([0.0], [0.0], [1.0])
    assert abs(scale.threshold - 0.5) < 1e-6
    assert scale_of([Inspection("x", error="bad")], np.empty(0, np.float32), 1.0) is None
