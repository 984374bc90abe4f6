"""``penstock warm-up`` on a lookup table: written, shown, checked, and refused as a worker would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline import warm_up
from pipeline.commands import main

TABLE = "key,value\na,one\nb,two\n"
BOTH = '{"key": ["a", "b"]}'


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None) -> Path:
    """A version of a lookup table, in a working directory without settings."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "table" / "3"
    path.mkdir(parents=True)
    (path / "table.csv").write_text(TABLE)
    return path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["warm-up", *map(str, arguments)])


def test_what_the_version_answers_now_is_expected_from_then_on(version: Path) -> None:
    assert run("write", version, BOTH, "--golden", "--description", "both").exit_code == 0
    [record] = warm_up.read(version)
    assert record.expected is not None
    assert record.expected[0].array().tolist() == [b"one", b"two"]
    assert run("check", version).exit_code == 0
    (version / "table.csv").write_text(TABLE.replace("two", "three"))
    result = run("check", version, "--json")
    assert result.exit_code == 1
    [verdict] = json.loads(result.stdout)
    assert (verdict["kind"], verdict["verdict"]) == ("golden", "golden_mismatch")
    assert "table/3: warm-up.avro record 0 (both): output 'value'" in verdict["reason"]


def test_expected_outputs_come_from_files_one_for_each_input(version: Path) -> None:
    np.savez(version.parent / "out.npz", value=np.array([b"one"]))
    (version.parent / "out.json").write_text('{"outputs": {"value": ["two"]}, "datatypes": {"value": "BYTES"}}')
    files = ("--expected", version.parent / "out.npz", "--expected", f"@{version.parent / 'out.json'}")
    result = run("write", version, '{"key": ["a"]}', '{"key": ["b"]}', *files)
    assert result.exit_code == 0, result.output
    result = run("check", version)
    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [["0", "golden"], ["1", "golden"]]


def test_datatypes_of_json_are_told_for_inputs_and_outputs_apart(version: Path) -> None:
    run(
        *("write", version, '{"ids": [[1]]}', "--expected", '{"label": [7]}', "--datatype", "INT64"),
        *("--expected-datatype", "label=INT32", "--atol", "1", "--iterations", "2", "--batch-size", "4"),
    )
    [record] = warm_up.read(version)
    assert record.expected is not None
    assert (record.inputs[0].datatype, record.expected[0].datatype) == ("INT64", "INT32")
    assert (record.atol, record.rtol, record.iterations, record.batch_sizes) == (1.0, None, 2, (4,))


def test_requests_are_replaced_or_appended(version: Path) -> None:
    for more, count in (((), 1), (("--append",), 2), ((), 1)):
        assert run("write", version, BOTH, *more).exit_code == 0
        assert len(json.loads(run("show", version, "--json").stdout)) == count


def test_show_prints_what_each_request_is(version: Path) -> None:
    run("write", version, BOTH, "--golden", "--description", "both")
    [_, row] = run("show", version).stdout.splitlines()
    assert row.split("  ")[0] == "0"
    assert "both" in row
    assert "key: BYTES [2]" in row
    assert "value: BYTES [2]" in row


def test_a_version_without_requests_loads_and_says_so(version: Path) -> None:
    for command in ("show", "check"):
        result = run(command, version)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no warm-up.avro" in result.stderr


def test_the_settings_of_the_stream_decide_as_they_do_in_a_worker(version: Path) -> None:
    Path("penstock.yaml").write_text(
        "servables: {t: {base_path: models/table, kind: lookup, options: {missing: error}, warm_up: {required: true}}}"
    )
    result = run("check", version)
    assert result.exit_code == 1
    assert "t/3: it has no golden request" in result.stderr
    assert run("write", version, BOTH, "--golden").exit_code == 0
    assert run("check", version).exit_code == 0
    assert run("write", version, '{"key": ["z"]}').exit_code == 0
    assert run("check", version, "--servable", "none").exit_code == 1


def test_a_warm_up_request_that_fails_counts_unless_it_is_ignored(version: Path) -> None:
    run("write", version, '{"nokey": ["a"]}')
    assert run("check", version).exit_code == 1
    Path("penstock.yaml").write_text("servables: {t: {base_path: models/table, warm_up: {on_error: ignore}}}")
    result = run("check", version)
    assert result.exit_code == 0
    assert "unknown_input" in result.stdout


def test_a_version_that_does_not_load_is_one_line(version: Path) -> None:
    (version / "table.csv").unlink()
    result = run("check", version)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "its files fit no kind" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (BOTH, "--golden", "--expected", BOTH),
        (BOTH, BOTH, "--expected", BOTH),
        ("{",),
        (BOTH, "--options", "["),
        (BOTH, "--options", "[]"),
        (BOTH, "--datatype", "FP8"),
    ],
)
def test_what_is_not_understood_ends_with_2_and_writes_nothing(version: Path, arguments: tuple[str, ...]) -> None:
    result = run("write", version, *arguments, *(("--golden",) if "--options" in arguments else ()))
    assert result.exit_code == 2, result.output
    assert warm_up.read(version) == ()


def test_a_request_that_no_version_could_answer_is_not_written(version: Path) -> None:
    result = run("write", version, BOTH, "--iterations", "0")
    assert result.exit_code == 1
    assert "iterations is 0" in result.stderr
    assert warm_up.read(version) == ()
