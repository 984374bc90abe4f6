"""What our workers say of their versions, while a contender runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.process import BenchmarkError
from pipeline.control.fleet import FleetFollower
from pipeline.control.kafka_logs import KafkaLogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.place import Place
    from pipeline.records import ServableState


@contextlib.contextmanager
def following(place: Place) -> Iterator[Callable[[], tuple[ServableState, ...]]]:
    """Yield what returns the last state of every version in a place; it raises BenchmarkError when none can be read."""
    problems: list[BaseException] = []
    logs = KafkaLogs({"bootstrap.servers": place.bootstrap})
    follower = FleetFollower(logs, place.states, "benchmark", problems.append)

    def states() -> tuple[ServableState, ...]:
        if problems:
            raise BenchmarkError(f"the states can not be read: {problems[0]}") from problems[0]
        return follower.fleet().states

    follower.start()
    try:
        yield states
    finally:
        follower.stop()
