"""From an aspiration in the topic to loaders in the manager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.registry import policy
from pipeline.registry.manager import Manager
from pipeline.registry.servable import ServableId
from pipeline.registry.states import EventBus, VersionState
from pipeline.rollout import RollOut
from pipeline.servables import kinds
from pipeline.servables.lookup import LookupAdapter
from pipeline.settings import BatchingSettings, Settings, StreamSettings
from pipeline.testing.fakes import FakeClock, InlineExecutor


class Worker:
    """A roll-out on a manager, with everything on the calling thread, and tables below ``root``."""

    def __init__(self, root: Path, *streams: str) -> None:
        self.root = root
        self.events: list[VersionState] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.manager = Manager(policy.availability_preserving, InlineExecutor(), InlineExecutor(), bus, FakeClock())
        self.rollout = RollOut(self.settings(*streams), self.manager)

    def settings(self, *streams: str, **options: Any) -> Settings:
        return Settings(servables={name: StreamSettings(base_path=str(self.root), **options) for name in streams})

    def aspire(self, stream: str, *versions: int, generation: int = 0, **more: Any) -> None:
        for version in versions:
            folder = self.root / stream / str(version)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "table.csv").write_text(f"a,{version}\n")
        found = tuple(AspiredVersion(v, str(self.root / stream / str(v)), **more) for v in versions)
        self.rollout.aspire(AspiredVersions(stream, found), generation)

    def close(self) -> None:
        self.manager.close(10)
        self.rollout.close()

    def available(self) -> list[tuple[str, int]]:
        return list(self.manager.available())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path, "m")
    yield worker
    worker.close()


def test_a_record_is_loaded_and_another_streams_is_not(worker: Worker) -> None:
    worker.aspire("m", 1, 2)
    worker.aspire("other", 1)
    assert worker.available() == [("m", 1), ("m", 2)]
    assert worker.manager.streams() == ("m",)


def test_a_path_outside_the_storage_roots_ends_with_that_reason(worker: Worker, tmp_path: Path) -> None:
    for path in ("/etc", f"{tmp_path}/m/../../etc", "s3://bucket/m/1"):
        worker.rollout.aspire(AspiredVersions("m", (AspiredVersion(1, path, path),)), 0)
        error = worker.events[-1].error
        assert error is not None
        assert error.code == "path_refused"


def test_a_raised_revision_loads_the_version_anew(worker: Worker) -> None:
    worker.aspire("m", 1)
    worker.aspire("m", 1)
    worker.aspire("m", 1, revision=1)
    assert [e.incarnation for e in worker.events if e.state == "AVAILABLE"] == [1, 2]


def own_estimate_bytes(tmp_path: Path) -> int:
    """What the loader of the version says by itself, after a load."""
    (tmp_path / "again.csv").write_text("a,1\n")
    loader = LookupAdapter().loader(ServableId("m", 1), tmp_path / "again.csv", {})
    loader.load()
    estimate_bytes = loader.estimate_bytes()
    assert estimate_bytes
    loader.unload()
    return estimate_bytes


def test_kinds_that_are_found_by_files_are_looked_for_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kinds.load_adapters()
    looked: list[None] = []
    monkeypatch.setattr(kinds, "load_adapters", lambda: looked.append(None) or found)
    worker.aspire("m", 1, 2)
    worker.aspire("m", 3)
    assert worker.available() == [("m", 3)]
    assert len(looked) == 1


def test_the_loaders_estimate_reaches_the_states(worker: Worker, tmp_path: Path) -> None:
    worker.aspire("m", 1)
    assert worker.events[-1].estimate_bytes == own_estimate_bytes(tmp_path)


def test_a_stream_that_is_added_gets_what_stands_and_one_that_is_removed_is_forgotten(worker: Worker) -> None:
    worker.aspire("m", 1)
    worker.aspire("later", 3, generation=7)
    assert worker.rollout.update(worker.settings("later")) == (["later"], ["m"])
    assert worker.available() == [("later", 3)]
    assert worker.manager.streams() == ("later",)
    assert worker.events[-1].generation == 7


def test_settings_that_say_the_same_change_nothing(worker: Worker) -> None:
    worker.aspire("m", 1)
    before = len(worker.events)
    assert worker.rollout.update(worker.settings("m")) == ([], [])
    assert len(worker.events) == before


def test_a_stream_that_says_process_is_loaded_in_one_which_is_measured_and_described(
    worker: Worker, tmp_path: Path
) -> None:
    worker.rollout.update(worker.settings("m", isolation="process", processes=2))
    worker.aspire("m", 1)
    event = worker.events[-1]
    assert (event.state, event.kind) == ("AVAILABLE", "lookup")
    assert event.description is not None
    assert (event.description.isolation, event.description.processes) == ("process", 2)
    assert event.memory_bytes is not None
    assert event.memory_bytes > 2 * (10 << 20)
    assert event.estimate_bytes == 2 * own_estimate_bytes(tmp_path)
    with worker.manager.acquire("m") as handle:
        outputs = handle.servable.predict("serving_default", {"key": np.array([b"a"], object)})
    assert outputs["value"].tolist() == [b"1"]


def test_without_a_setting_the_kind_says_for_each_version_whether_it_is_a_process(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants_process = staticmethod(lambda path: path.name == "2")
    monkeypatch.setattr(LookupAdapter, "wants_process", wants_process, raising=False)
    worker.aspire("m", 1, 2)
    assert isolations(worker) == {1: "thread", 2: "process"}


def test_a_setting_comes_before_what_the_kind_says(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LookupAdapter, "wants_process", lambda self, path: True, raising=False)
    worker.rollout.update(worker.settings("m", isolation="thread"))
    worker.aspire("m", 1)
    assert isolations(worker) == {1: "thread"}


def isolations(worker: Worker) -> dict[int, str]:
    """Which isolation the states of the available versions name."""
    return {e.id.version: e.description.isolation for e in worker.events if e.state == "AVAILABLE" and e.description}


def test_batches_are_divided_as_the_settings_of_now_say(worker: Worker, tmp_path: Path) -> None:
    """What the settings allow is read by each call: a process is never given another number of rows."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "servable.py").write_text(ROWS)
    python = {"kind": "python", "options": {"allow_code_in_version": True}, "isolation": "process", "processes": 2}
    worker.rollout.update(worker.settings("m", **python))
    worker.aspire("m", 1)
    found = []
    for sizes in ((), (1, 4), (3, 4)):
        batching = BatchingSettings(allowed_batch_sizes=sizes)
        worker.rollout.update(worker.settings("m", **python, batching=batching))
        with worker.manager.acquire("m") as handle:
            outputs = handle.servable.predict("serving_default", {"x": np.zeros((4, 1), np.float32)})
        found.append(outputs["rows"].ravel().tolist())
    assert found == [[2, 2, 2, 2], [4, 4, 4, 4], [3, 3, 3, 3]]


ROWS = """
import numpy as np

class Servable:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"rows": ("INT64", [-1, 1])}

    def predict(self, inputs):
        return {"rows": np.full(inputs["x"].shape, len(inputs["x"]))}
"""


def test_a_stream_that_was_forgotten_does_not_come_back_with_its_settings(worker: Worker) -> None:
    worker.aspire("later", 3)
    worker.rollout.forget("later", 5)
    worker.rollout.update(worker.settings("m", "later"))
    assert worker.available() == []


def test_options_that_change_are_for_what_is_loaded_next(worker: Worker) -> None:
    worker.aspire("m", 1)
    worker.rollout.update(worker.settings("m", options={"columns": ["score"]}))
    worker.aspire("m", 1, 2)
    with worker.manager.acquire("m", version=1) as one, worker.manager.acquire("m", version=2) as two:
        names = [[spec.name for spec in it.servable.signatures["serving_default"].outputs] for it in (one, two)]
    assert names == [["value"], ["score"]]
