"""What is compared when workers, partitions or streams become more."""

from __future__ import annotations

from pathlib import Path

import yaml

from benchmarks.cases.scaling import core_for, fleets
from benchmarks.cases.streams import _RIVALS
from benchmarks.contenders.serving import Serving
from benchmarks.contenders.streaming import Streaming
from benchmarks.place import Place


def test_two_workers_are_asked_what_one_is():
    every = {fleet.NAME: fleet for fleet in fleets(Serving("openvino", "resnet50", Path("models"), 8), 240)}
    for network in ("resnet50", "mlp"):
        one, two = every[f"{network}, 1 worker"], every[f"{network}, 2 workers"]
        assert (one.workers, two.workers) == (1, 2)
        assert (one.rival, one.asked) == (two.rival, two.asked)
    assert [every[f"mlp, {n} partitions"].asked.partitions for n in (1, 2, 4, 8, 16)] == [1, 2, 4, 8, 16]
    assert next(iter(every)) == "resnet50, 2 workers", "the ratio is that of the first two"


def test_workers_get_cores_of_their_own_as_long_as_there_are_some():
    assert [core_for(number, [4, 6]).contender for number in range(3)] == [{4}, {6}, {4}]
    assert not core_for(0, []).contender, "where nobody is bound, no worker is"


def test_every_stream_of_the_requests_is_one_of_the_worker(tmp_path):
    rival = Streaming(3)
    rival.command(Place("127.0.0.1:1", tmp_path, tmp_path / "models", "bench-1"))
    made = yaml.safe_load((tmp_path / "penstock.yaml").read_text())
    assert list(made["servables"]) == ["stream-0", "stream-1", "stream-2"]
    assert made["routes"]["mlp"]["servable"] == "stream-0"


def test_the_first_two_are_those_of_the_target():
    assert [rival.streams for rival in _RIVALS[:2]] == [1000, 1]
