"""``penstock versions show STREAM/VERSION``: what one version is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.commands import main
from pipeline.commands.versions import details
from pipeline.control.fleet import Fleet
from pipeline.description import Description, Signature, TensorSpec
from pipeline.records import ServableState, State

TEXT = Signature(
    (TensorSpec("tokens", "INT64", (-1, -1), ("batch", "length")),), (TensorSpec("score", "FP32", (-1, 2)),)
)
WHOLE = Signature((TensorSpec("x", "FP32", ()),), (TensorSpec("y", "FP32", (3,), ("colour",)),), batched=False)
DESCRIBED = Description(
    "torch", "2.13.0", 4, "process", 2, ("a pickle was allowed",), {"serving_default": TEXT, "whole": WHOLE}
)


def state(worker: str, **changes: Any) -> ServableState:
    known = {"kind": "torch", "path": "/models/m/3", "digest": "sha256:abc", "description": DESCRIBED, **changes}
    return ServableState(
        worker, "m", 3, State.AVAILABLE, load_ms=31, estimate_bytes=5 << 20, memory_bytes=3 << 20, at_ms=1, **known
    )


def show(monkeypatch: pytest.MonkeyPatch, states: tuple[ServableState, ...], *arguments: str) -> Any:
    monkeypatch.setattr("pipeline.control.fleet.read_fleet", lambda *_: Fleet(states, ()))
    return CliRunner().invoke(main, ["versions", *arguments])


def test_a_version_is_shown_with_all_that_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result = show(monkeypatch, (state("w-1"), state("w-2"), ServableState("w-1", "m", 2, State.END)), "m/3")
    assert result.exit_code == 0, result.output
    words = [line.split() for line in result.stdout.splitlines()]
    for line in (
        ["version", "m/3"],
        ["digest", "sha256:abc"],
        ["framework", "torch", "2.13.0"],
        ["threads", "4"],
        ["isolation", "process,", "2", "of", "them"],
        ["note", "a", "pickle", "was", "allowed"],
        ["serving_default", "in", "tokens", "INT64", "[batch,", "length]"],
        ["out", "score", "FP32", "[-1,", "2]"],
        ["whole", "(not", "batched)", "in", "x", "FP32", "[]"],
        ["out", "y", "FP32", "[colour=3]"],
    ):
        assert words.count(line) == 1, line
    workers = [line for line in words if line[:1] in (["w-1"], ["w-2"])]
    assert len(workers) == 2
    assert workers[0][-6:] == ["31", "ms", "5.0", "MiB", "3.0", "MiB"]


def test_workers_that_differ_are_shown_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    result = show(monkeypatch, (state("w-1"), state("w-2", digest="sha256:def")), "m/3")
    assert [line for line in result.stdout.splitlines() if line.startswith("digest")] == [
        "digest     sha256:abc",
        "digest     sha256:def",
    ]


def test_json_has_the_records_of_that_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    states = (state("w-1"), ServableState("w-1", "m", 2, State.LOADING))
    (found,) = json.loads(show(monkeypatch, states, "show", "m/3", "--json").stdout)
    assert found["description"]["signatures"]["whole"]["batched"] is False


def test_a_version_that_nobody_has_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no worker has reported a version of m/4" in show(monkeypatch, (state("w-1"),), "m/4").stderr
    assert show(monkeypatch, (), "m/4", "--watch").exit_code == 2


@pytest.mark.parametrize(
    ("what", "stream", "version"),
    [
        ("m", "m", None),
        ("m/3", "m", 3),
        ("a/b", "a/b", None),
        ("a/b/3", "a/b", 3),
        ("/3", "/3", None),
        ("m/", "m/", None),
    ],
)
def test_only_a_number_after_a_slash_is_a_version(what: str, stream: str, version: int | None) -> None:
    assert details.split(what) == (stream, version)
