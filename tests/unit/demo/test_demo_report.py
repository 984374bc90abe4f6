from __future__ import annotations

import json

import pytest

from pipeline.demo.report import (
    BrokenVersion,
    Received,
    Sent,
    make_report,
    percentile,
    shortcomings,
    swap_gap_ms,
    to_object,
)

ENDED = BrokenVersion("END", "invalid_artefact: not a model")


def sent(count: int, *, every_s: float = 0.001) -> dict[str, Sent]:
    """Requests r0, r1, ...; request n shows the digit n % 10."""
    return {f"r{n}": Sent(n % 10, n * every_s) for n in range(count)}


def right(n: int, version: int, at_s: float) -> Received:
    return Received(f"r{n}", at_s, version, n % 10)


def wrong(n: int, version: int, at_s: float) -> Received:
    return Received(f"r{n}", at_s, version, (n + 1) % 10)


def good_run() -> list[Received]:
    return [wrong(0, 1, 0.002), right(1, 1, 0.003), right(2, 2, 0.004), right(3, 2, 0.005)]


def test_a_good_run_has_no_shortcomings():
    report = make_report(sent(4), good_run(), ENDED, "a broker")
    assert shortcomings(report) == []
    assert (report.requests, report.answered, report.lost, report.duplicated, report.errors) == (4, 4, 0, 0, 0)


def test_a_request_without_a_result_is_lost():
    report = make_report(sent(5), good_run(), ENDED, "")
    assert (report.answered, report.lost) == (4, 1)
    assert shortcomings(report) == ["1 requests were never answered"]


def test_a_second_result_is_a_duplicate_and_counts_for_no_version():
    report = make_report(sent(4), [*good_run(), wrong(3, 1, 0.9)], ENDED, "")
    assert (report.answered, report.duplicated) == (4, 1)
    assert (report.versions[1].answered, report.versions[2].answered) == (2, 2)
    assert shortcomings(report) == ["1 requests were answered more than once"]


def test_an_error_is_an_answer_but_no_versions():
    failed = Received("r4", 0.01, 2, error="model_error: it raised")
    report = make_report(sent(5), [*good_run(), failed], ENDED, "")
    assert (report.answered, report.lost, report.errors) == (5, 0, 1)
    assert report.versions[2].answered == 2
    assert shortcomings(report) == ["1 requests were answered with an error"]


def test_an_id_that_was_not_sent_does_not_count():
    report = make_report(sent(4), [Received("warm-up-000000", 0.0, 1, 3), *good_run()], ENDED, "")
    assert (report.answered, report.duplicated) == (4, 0)


def test_accuracy_is_right_answers_per_answer_of_that_version():
    report = make_report(sent(4), good_run(), ENDED, "")
    assert report.versions[1].accuracy == 0.5
    assert report.versions[2].accuracy == 1.0


@pytest.mark.parametrize(
    ("received", "version_3", "complaint"),
    [
        ([right(0, 1, 0.1), right(1, 1, 0.1), right(2, 1, 0.1), right(3, 1, 0.1)], ENDED, "version 2 answered nothing"),
        (
            [right(0, 1, 0.1), right(1, 1, 0.1), right(2, 2, 0.1), right(3, 2, 0.1)],
            ENDED,
            "version 2 is right in 100.00%",
        ),
        (good_run(), BrokenVersion("LOADING", ""), "it is LOADING"),
        (good_run(), BrokenVersion("END", ""), "END with a reason"),
        ([*good_run()[:3], right(3, 3, 0.1)], ENDED, "version 3 answered 1"),
    ],
)
def test_what_the_demo_should_have_shown_and_did_not_is_said(received, version_3, complaint):
    (line,) = shortcomings(make_report(sent(4), received, version_3, ""))
    assert complaint in line


def test_latencies_run_from_sending_to_the_first_result():
    report = make_report(sent(2, every_s=1.0), [right(0, 1, 0.010), right(0, 1, 0.9), right(1, 2, 1.030)], ENDED, "")
    assert report.p50_ms == pytest.approx(10)
    assert report.p99_ms == pytest.approx(30)
    assert report.versions[2].p50_ms == pytest.approx(30)


def test_the_rate_counts_from_the_first_request_to_the_last_result():
    report = make_report(sent(4, every_s=0.1), [right(n, 1, 0.5 * n + 0.5) for n in range(4)], ENDED, "")
    assert report.records_per_s == pytest.approx(4 / 2.0)


def test_the_swap_gap_is_the_longest_silence_within_a_second_of_the_first_new_answer():
    times = [0.0, 5.0, 5.1, 5.4, 5.45, 6.0, 9.0]  # the silences of 5 s and 3 s are none of the swap's
    received = [right(n, 2 if at >= 5.4 else 1, at) for n, at in enumerate(times)]
    assert swap_gap_ms(received) == pytest.approx(550)
    assert swap_gap_ms([right(0, 1, 0.0)]) == 0.0


def test_a_percentile_is_one_of_the_values():
    assert percentile([], 99) == 0.0
    assert percentile([3.0], 1) == 3.0
    assert percentile([float(n) for n in range(1, 101)], 99) == 99.0
    assert percentile([float(n) for n in range(1, 101)], 50) == 50.0


def test_nothing_at_all_is_a_report_too():
    report = make_report({}, [], BrokenVersion("never seen", ""), "")
    assert (report.requests, report.answered, report.records_per_s) == (0, 0, 0.0)
    assert shortcomings(report)


def test_the_object_has_the_promised_fields_and_is_json():
    found = json.loads(json.dumps(to_object(make_report(sent(4), good_run(), ENDED, "a broker"))))
    assert list(found) == [
        "requests", "answered", "lost", "duplicated", "errors", "versions", "swap_gap_ms", "p50_ms", "p99_ms",
        "records_per_s", "broker", "version_3",
    ]  # fmt: skip
    assert found["versions"]["1"] == {"answered": 2, "accuracy": 0.5}
    assert found["version_3"] == {"state": "END", "reason": "invalid_artefact: not a model"}
