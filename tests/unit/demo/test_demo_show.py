from __future__ import annotations

import io

from rich.console import Console

from pipeline.demo.report import BrokenVersion, Report, VersionReport
from pipeline.demo.show import Show

REPORT = Report(
    requests=300,
    answered=300,
    lost=0,
    duplicated=0,
    errors=0,
    versions={1: VersionReport(100, 0.94, 2.0, 9.0), 2: VersionReport(200, 0.98, 2.0, 9.0)},
    swap_gap_ms=7.5,
    p50_ms=2.0,
    p99_ms=9.0,
    records_per_s=1000.0,
    broker="a broker",
    version_3=BrokenVersion("END", "invalid_artefact: [not] a model"),
)


def printed(console: Console, *, is_forgotten: bool = True) -> str:
    show = Show(console)
    show.step("started")
    show.result(REPORT, {1: "END", 2: "AVAILABLE", 3: "END"})
    show.next_steps([("why", "penstock kafka")], is_forgotten=is_forgotten)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_person_reads_which_version_answered_and_why_the_broken_one_did_not():
    text = printed(Console(file=io.StringIO(), width=120))
    assert "94.00%" in text
    assert "98.00%" in text
    assert "300 requests, 300 answered, 0 lost, 0 duplicated, 0 errors" in text
    assert "Version 3 never went live: END, invalid_artefact: [not] a model" in text
    assert "penstock kafka" in text


def test_the_embedded_broker_is_named_as_such_and_a_real_one_is_not():
    assert "forgotten everything" in printed(Console(file=io.StringIO(), width=200))
    assert "forgotten" not in printed(Console(file=io.StringIO(), width=200), is_forgotten=False)


def test_a_command_is_not_cut_by_a_narrow_terminal():
    console = Console(file=io.StringIO(), width=20)
    command = "penstock predict digits @image.npy -c penstock.yaml"
    Show(console).next_steps([("why", command)], is_forgotten=False)
    assert command in console.file.getvalue()


def test_nothing_is_printed_where_it_is_quiet():
    assert not printed(Console(file=io.StringIO(), quiet=True))
