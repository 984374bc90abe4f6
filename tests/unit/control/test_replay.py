"""Whatever the log delivers, however often and from wherever: the last record of a stream is what is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings as hypothesis_settings, strategies as st

from pipeline.control import encoding
from pipeline.control.aspired import AspiredFollower
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.registry.loader import Loader
from pipeline.registry.manager import Manager
from pipeline.registry.source import Aspired
from pipeline.rollout import RollOut
from pipeline.settings import Settings, StreamSettings
from tests.unit.registry.registry_fakes import FakeLoader, ManualExecutor, Rig

STREAMS = ("m", "n")
SETTINGS = Settings(
    servables={name: StreamSettings(base_path=f"/{name}", kind="fake", isolation="thread") for name in STREAMS}
)


class Record(SimpleNamespace):
    """A message of one partition."""

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return int(self.at)

    def key(self) -> bytes:
        return bytes(self.pair[0])

    def value(self) -> bytes | None:
        value: bytes | None = self.pair[1]
        return value


class FakeTopic:
    """A consumer of a log that can be rewound."""

    def __init__(self, log: list[tuple[bytes, bytes | None]]) -> None:
        self.log, self.position = log, 0

    def list_topics(self, topic: str, _timeout_s: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None}, error=None)})

    def get_watermark_offsets(self, _place: Any, _timeout_s: float) -> tuple[int, int]:
        return 0, len(self.log)

    def incremental_assign(self, _places: Any) -> None: ...

    def poll(self, _timeout_s: float) -> Record | None:
        if self.position >= len(self.log):
            return None
        self.position += 1
        return Record(at=self.position - 1, pair=self.log[self.position - 1])

    def consume(self, _count: int, _timeout_s: float) -> list[Record]:
        return []

    def close(self) -> None: ...


class Fakes:
    """A target that puts a loader which needs no file in the place of each real one."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def set_aspired(
        self, stream: str, items: Sequence[Aspired[Loader]], labels: Mapping[str, int], generation: int
    ) -> None:
        self._manager.set_aspired(stream, [replace(item, data=FakeLoader()) for item in items], labels, generation)

    def forget(self, stream: str, generation: int) -> None:
        self._manager.forget(stream, generation)


class FakeWorker:
    """The real follower, roll-out and manager of one worker; its pools work when they are told to."""

    def __init__(self, log: list[tuple[bytes, bytes | None]]) -> None:
        self.rig = Rig(ManualExecutor(), ManualExecutor())
        rollout = RollOut(SETTINGS, Fakes(self.rig.manager))
        self.topic = FakeTopic(log)
        self.follower = AspiredFollower(
            KafkaLogs({}, make_consumer=lambda _: self.topic),
            "aspired",
            "w",
            on_aspired=rollout.aspire,
            on_forgotten=rollout.forget,
            on_fatal=print,
        )

    def catch_up(self) -> None:
        self.follower.step(0)
        while self.topic.position < len(self.topic.log):
            self.follower.step(0)

    def serves(self) -> dict[str, tuple[tuple[int, ...], dict[str, int]]]:
        """The versions and labels of each stream that is known."""
        self.rig.run_until_quiet()
        found = {}
        for name in self.rig.manager.streams():
            snapshot = self.rig.manager.snapshot(name)
            assert snapshot is not None
            found[name] = (snapshot.available, dict(snapshot.labels))
        return found


NUMBERS = st.lists(st.integers(1, 4), max_size=3, unique=True)
RECORDS = st.tuples(st.sampled_from(STREAMS), st.none() | NUMBERS, st.integers(0, 2))
STEPS = st.tuples(st.integers(0, 2), st.sampled_from(["read", "rewind", "load", "unload"]), st.integers(0, 12))


def pair(stream: str, numbers: list[int] | None, label: int) -> tuple[bytes, bytes | None]:
    if numbers is None:
        return stream.encode(), encoding.TOMBSTONE
    versions = tuple(AspiredVersion(number, f"/{stream}/{number}", f"sha256:{number}") for number in numbers)
    return encoding.encode_aspired(AspiredVersions(stream, versions, labels=labels_of(numbers, label)))


def labels_of(numbers: list[int], label: int) -> dict[str, int]:
    return {"stable": numbers[label % len(numbers)]} if numbers else {}


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(RECORDS, max_size=8), st.lists(STEPS, max_size=30))
def test_any_sequence_however_duplicated_or_replayed_ends_in_the_set_of_the_last_record(
    records: list[tuple[str, list[int] | None, int]], steps: list[tuple[int, str, int]]
) -> None:
    log: list[tuple[bytes, bytes | None]] = []
    workers = [FakeWorker(log) for _ in range(3)]
    written = iter(records)
    for index, what, number in steps:
        worker = workers[index]
        if what == "read":
            if (record := next(written, None)) is not None:
                log.append(pair(*record))
            worker.follower.step(0)
        elif what == "rewind":
            worker.topic.position = min(number, worker.topic.position)
        else:
            pool = worker.rig.load_pool if what == "load" else worker.rig.unload_pool
            if pool.jobs:
                pool.step()
    log += [pair(*record) for record in written]
    last = {stream: (numbers, labels_of(numbers or [], label)) for stream, numbers, label in records}
    expected = {
        name: (tuple(sorted(numbers)), labels) for name, (numbers, labels) in last.items() if numbers is not None
    }
    for worker in (*workers, FakeWorker(log)):  # and one that joins late
        worker.catch_up()
        assert worker.serves() == expected
