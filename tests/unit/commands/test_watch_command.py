"""What `penstock watch` refuses before it has a word with any broker."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline.commands import main

NOWHERE = "kafka: {bootstrap.servers: 'localhost:1'}\n"


@pytest.fixture
def run(tmp_path, no_variables):
    def run(text, *arguments):
        (tmp_path / "penstock.yaml").write_text(NOWHERE + text)
        return CliRunner().invoke(main, ["watch", "-c", str(tmp_path / "penstock.yaml"), *arguments])

    return run


def test_a_missing_base_path_is_an_error_where_the_settings_say_so(run):
    result = run("watch: {missing_base_path: error}\nservables: {m: {base_path: nowhere}}\n")
    assert result.exit_code == 1
    assert "servables.m.base_path" in result.stderr
    assert "nowhere is not a directory" in result.stderr


def test_once_names_the_streams_without_a_complete_version_and_publishes_nothing(run, tmp_path):
    for name in ("whole", "half", "empty"):
        (tmp_path / name).mkdir()
    for name in ("whole", "half"):
        (tmp_path / name / "1").mkdir()
        (tmp_path / name / "1" / "model").write_text("x")
    (tmp_path / "whole" / "1" / "_SUCCESS").write_text("")
    streams = ", ".join(f"{name}: {{base_path: {name}, complete_when: marker}}" for name in ("whole", "half", "empty"))
    quick = "watch: {poll_interval_s: 0.01, quiet_period_s: 0.01}\n"
    result = run(f"{quick}servables: {{{streams}}}\n", "--once", "--await-versions", "0.05")
    assert result.exit_code == 1
    assert "servables.half, servables.empty: no complete version within 0.05 s" in result.stderr
    assert "whole" not in result.output.replace("servables", "")
