"""The JSON object that a case prints."""

from __future__ import annotations

import json

import pytest

from benchmarks.accounting import account
from benchmarks.report import Report, Versus, make, text

IDS = ["a", "b"]


def a_report(
    ours=(10.0, 12.0, 11.0),
    rival=(8.0, 10.0, 12.0),
    better="higher",
    target=1.0,
    answered=IDS,
    ratio=None,
    versus=(),
    failures=None,
):
    return make(
        case="throughput",
        measure="answers",
        unit="records/s",
        target=target,
        better=better,
        rounds={"penstock": ours, "rival": rival},
        others={"CPU": {"penstock": [1.0], "rival": [2.0]}},
        descriptions={"penstock": "ours", "rival": "theirs"},
        accounts={"penstock": [account(IDS, answered)] * 3, "rival": [account(IDS, IDS)] * 3},
        settings={"requests": 2},
        machine={"cpu": "a cpu", "cores": 2},
        ratio=ratio,
        versus=versus,
        failures=failures,
    )


def test_the_object_has_every_field_and_is_json():
    report = a_report()
    assert set(report) == set(Report.__annotations__)
    assert json.loads(json.dumps(report)) == report


def test_the_ratio_is_that_of_the_medians_ours_first():
    report = a_report()
    assert report["ratio"] == 1.1
    assert report["rounds"] == 3
    assert report["contenders"]["penstock"] == {"median": 11.0, "min": 10.0, "max": 12.0, "rounds": [10.0, 12.0, 11.0]}
    assert report["contenders"]["rival"]["median"] == 10.0


def test_a_case_whose_rounds_are_ratios_says_which_one_the_target_is_about():
    report = a_report(ours=(1.5, 1.25, 1.75), ratio=1.5, better="lower", target=1.4)
    assert report["ratio"] == 1.5
    assert not report["reached"]


@pytest.mark.parametrize(
    ("better", "target", "reached"),
    [("higher", 1.0, True), ("higher", 1.2, False), ("lower", 1.5, True), ("lower", 1.0, False)],
)
def test_a_target_is_reached_in_its_own_direction(better, target, reached):
    assert a_report(better=better, target=target)["reached"] is reached


def test_further_comparisons_have_their_own_targets():
    pair = ("penstock", "rival")
    report = a_report(versus=[Versus(*pair, 1.5)])
    assert report["ratios"] == {"penstock / rival": {"ratio": 1.1, "target": 1.5, "reached": False}}
    assert "penstock / rival: 1.10, target >= 1.5: not reached" in text(report)
    untold = a_report(versus=[Versus(*pair)])
    assert untold["ratios"] == {"penstock / rival": {"ratio": 1.1, "target": None, "reached": None}}
    assert "reached" not in text(untold).partition("penstock / rival: 1.10")[2].partition("\n")[0]


def test_losses_are_summed_over_the_rounds_and_named():
    report = a_report(answered=["a"])
    assert report["accounting"]["penstock"]["lost"] == 3
    assert report["faults"] == ["penstock: 3 lost"]
    assert "FAILED" in text(report)


def test_people_see_the_ratio_both_medians_and_the_machine():
    shown = text(a_report())
    for part in ("ratio 1.10", "median", "penstock", "rival", "cpu: a cpu", "0 lost"):
        assert part in shown
    assert "FAILED" not in shown


def test_a_contender_that_has_failed_has_a_row_and_no_figure():
    report = a_report(rival=(), versus=[Versus("penstock", "rival", 1.5)], failures={"rival": "it hung\nlast line"})
    assert list(report["contenders"]) == ["penstock"]
    assert report["rounds"] == 3
    assert (report["ratio"], report["reached"]) == (None, False)
    assert report["ratios"] == {"penstock / rival": {"ratio": None, "target": 1.5, "reached": None}}
    assert report["failures"] == {"rival": "it hung\nlast line"}
    assert report["faults"] == [], "the figures of the others count"
    shown = text(report)
    for part in ("failed: it hung\n    | last line", "ratio not measured", "penstock / rival: not measured\n"):
        assert part in shown
