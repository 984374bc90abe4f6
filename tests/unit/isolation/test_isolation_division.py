"""With several processes a batch is divided among those that are free, and its rows come back in their order."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from obedient import ask

from pipeline.errors import InvalidSettings, ModelFailed
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.isolation.division import inputs_of, joined, rows_of, shares
from pipeline.registry.cores import cores
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.servables.python import PythonAdapter
from pipeline.settings import BatchingSettings


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
    assert rows_of(Signature(spec, spec), x) == 4
    assert rows_of(Signature(spec, spec, batched=False), x) == 1
    assert rows_of(None, x) == 1
    assert rows_of(Signature((TensorSpec("x", "FP32", (4,)),), spec), x) == 1
    assert rows_of(Signature(spec, spec), {"x": np.zeros(0)}) == 1
    assert rows_of(Signature(spec, spec), {**x, "y": np.zeros(())}) == 1


@pytest.mark.parametrize(("rows", "count"), [(7, 2), (7, 3), (3, 3), (1, 1)])
def test_shares_are_about_equal_and_in_order(rows: int, count: int) -> None:
    x = np.arange(rows)
    parts = [inputs_of(share, {"x": x})["x"] for share in shares(rows, count, ())]
    assert np.concatenate(parts).tolist() == x.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("rows", "count", "sizes", "expected"),
    [
        (8, 2, (4, 8), [4, 4]),
        (8, 2, (1, 8), [8]),
        (8, 3, (2, 4, 8), [4, 4]),
        (6, 2, (4, 6), [4, 4]),
        (32, 4, (1, 8, 32), [8, 8, 8, 8]),
        (9, 2, (1, 4), [4, 5]),  # more than is allowed in a call, which nobody plans
    ],
)
def test_shares_have_sizes_that_are_allowed(rows: int, count: int, sizes: tuple[int, ...], expected: list[int]) -> None:
    x = {"x": np.arange(rows)}
    divided = shares(rows, count, sizes)
    parts = [inputs_of(share, x) for share in divided]
    assert [len(part["x"]) for part in parts] == expected
    assert joined(divided, parts)["x"].tolist() == list(range(rows))


def test_outputs_of_another_length_are_left_for_the_caller_to_refuse() -> None:
    divided = shares(6, 2, (4, 6))
    outputs = [{"y": np.zeros(4)}, {"y": np.zeros(5)}]
    assert len(joined(divided, outputs)["y"]) == 9


ROWS = """
def predict(inputs):
    x = inputs["x"]
    return {"y": x * 10, "pid": np.full(x.shape, len(x))}
self.predict = predict
"""


def test_each_process_is_given_a_number_of_rows_that_the_settings_allow(loader_of: Any) -> None:
    settings = [BatchingSettings(allowed_batch_sizes=(4, 6))]
    servable = loader_of(ROWS, processes=2, batching=lambda: settings[0]).load()
    got = ask(servable, *range(10, 16))
    assert got["y"].ravel().tolist() == [10.0 * number for number in range(10, 16)]
    assert got["pid"].ravel().tolist() == [4] * 6
    settings[0] = BatchingSettings(allowed_batch_sizes=(1, 6))
    assert ask(servable, *range(10, 16))["pid"].ravel().tolist() == [6] * 6
    settings[0] = BatchingSettings(unbatched=("serving_default",))
    assert ask(servable, *range(10, 15))["pid"].ravel().tolist() == [5] * 5
    settings[0] = BatchingSettings()
    assert sorted(ask(servable, *range(10, 15))["pid"].ravel().tolist()) == [2, 2, 3, 3, 3]


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
