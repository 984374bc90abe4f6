"""With several processes a batch is divided among those that are free, and its rows come back in their order."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from obedient import ask

from pipeline.errors import InvalidSettings, ModelFailed
from pipeline.isolation import servable as isolated
from pipeline.isolation.adapter import IsolatedAdapter, cores
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.servables.python import PythonAdapter


def test_each_process_computes_a_part_of_the_rows(loader_of: Any) -> None:
    loader = loader_of(processes=3)
    got = ask(loader.load(), *range(10, 30))
    assert got["y"].ravel().tolist() == [10.0 * number for number in range(10, 30)]
    assert sorted(set(got["pid"].ravel().tolist())) == loader._crew.pids()


MEET = """
def meet(number):
    (self.path / f"row {number}").touch()
    while not (self.path / f"row {3 - number}").exists():
        time.sleep(0.01)
self.obey = meet
"""


def test_parts_are_computed_at_the_same_time(loader_of: Any) -> None:
    """Each of two rows waits until the other one is being computed as well."""
    servable = loader_of(MEET, processes=2, timeout_s=20.0).load()
    assert ask(servable, 1, 2)["y"].ravel().tolist() == [10.0, 20.0]


def test_an_error_in_one_part_is_the_error_of_the_call_and_no_answer_stays_behind(loader_of: Any) -> None:
    servable = loader_of(processes=2).load()
    for _ in range(3):
        with pytest.raises(ModelFailed, match="six"):
            ask(servable, 6, 20)
        assert ask(servable, 20, 21)["y"].ravel().tolist() == [200.0, 210.0]


def test_only_rows_are_divided() -> None:
    spec = (TensorSpec("x", "FP32", (-1,)),)
    x = {"x": np.zeros(4)}
    assert isolated._rows(Signature(spec, spec), x) == 4
    assert isolated._rows(Signature(spec, spec, batched=False), x) == 1
    assert isolated._rows(None, x) == 1
    assert isolated._rows(Signature((TensorSpec("x", "FP32", (4,)),), spec), x) == 1
    assert isolated._rows(Signature(spec, spec), {"x": np.zeros(0)}) == 1
    assert isolated._rows(Signature(spec, spec), {**x, "y": np.zeros(())}) == 1


@pytest.mark.parametrize(("rows", "count"), [(7, 2), (7, 3), (3, 3), (1, 1)])
def test_parts_are_about_equal_and_in_order(rows: int, count: int) -> None:
    x = np.arange(rows)
    parts = [part["x"] for part in isolated._parts({"x": x}, rows, count)]
    assert np.concatenate(parts).tolist() == x.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_description_says_that_it_is_isolated_and_in_how_many_processes(loader_of: Any) -> None:
    description = loader_of(processes=0).load().description
    assert (description.isolation, description.processes, description.framework) == ("process", cores(), "python")
    assert "servable.py of the version is run" in description.notes
    assert cores() == len(os.sched_getaffinity(0))


class Bounded:
    """An inner loader that knows what it needs."""

    def __init__(self) -> None:
        self.asked = 0

    def estimate_bytes(self) -> int | None:
        return 1000


def test_the_estimate_counts_every_process(loader_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = loader_of(processes=3)
    monkeypatch.setattr(loader, "_inner", Bounded())
    assert loader.estimate_bytes() == 3000


def test_options_are_refused_before_anything_is_started(tmp_path: Any) -> None:
    with pytest.raises(InvalidSettings):
        IsolatedAdapter(PythonAdapter()).loader(ServableId("m", 1), tmp_path, {"clas": "a:B"})
