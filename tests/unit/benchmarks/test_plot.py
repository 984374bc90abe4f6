"""A case as a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks import plot
from tests.unit.benchmarks.test_report import a_report


def texts_of(path):
    return [text.strip() for text in ET.parse(path).getroot().itertext() if text.strip()]


def test_the_picture_names_contenders_medians_and_unit(tmp_path):
    path = plot.write(a_report(ours=(10.0, 12.0, 11.0), rival=(8.0, 10.0, 12.0)), tmp_path / "plots")
    assert path == tmp_path / "plots" / "throughput.svg"
    texts = texts_of(path)
    for text in ("penstock", "rival", "11", "10", "records/s", "throughput: answers"):
        assert text in texts


def test_a_slow_rival_is_still_seen_and_the_axis_says_how(tmp_path):
    path = plot.write(a_report(ours=(100_000.0,), rival=(100.0,)), tmp_path)
    assert "records/s, logarithmic" in texts_of(path)


def test_the_same_report_gives_the_same_picture(tmp_path):
    first, second = (plot.write(a_report(), tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_further_figures_are_drawn_too_and_who_has_failed_is_named(tmp_path):
    texts = texts_of(plot.write(a_report(rival=(), failures={"rival": "it hung"}), tmp_path))
    assert "CPU" in texts
    assert "throughput: answers; failed: rival" in texts


@pytest.mark.parametrize(
    ("panels", "rows"), [(1, [[0, 0]]), (2, [[0, 0], [1, 1]]), (4, [[0, 0], [1, 2], [3, 3]]), (3, [[0, 0], [1, 2]])]
)
def test_further_figures_stand_side_by_side(panels, rows):
    assert plot._rows(panels) == rows
