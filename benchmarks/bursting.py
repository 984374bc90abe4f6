"""A burst in an open loop, a process of its own.

``python -m benchmarks.bursting BOOTSTRAP REQUESTS RESULTS RATE FACTOR SECONDS``: requests come at RATE, for SECONDS at
FACTOR times that, and at RATE again. A latency runs as in ``benchmarks.open_loop``. A thousand keys take turns.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import figures, produce
from benchmarks.avro_records import AvroRecord
from benchmarks.open_loop import LINGER_MS, SWITCH_S, latencies
from benchmarks.probe import is_probe
from benchmarks.steady import Receiver, drive, wait_for_answers
from benchmarks.workload import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEYS: Final = 1000
# Connections are made meanwhile, and the first batches are slow: the first half is not counted.
_BEFORE_S: Final = 4.0
_AFTER_S: Final = 5.0


class Schedule(NamedTuple):
    """When each request is due, in seconds after the first, and the places of the burst: from ``start`` to ``end``."""

    due_s: list[float]
    start: int
    end: int


def schedule(rate: float, factor: float, burst_s: float) -> Schedule:
    """Return the schedule of one burst; ``rate`` in requests/s."""
    start, burst, after = int(_BEFORE_S * rate), int(burst_s * factor * rate), int(_AFTER_S * rate)
    due_s = [number / rate for number in range(start)]
    due_s += [_BEFORE_S + number / (factor * rate) for number in range(burst)]
    due_s += [_BEFORE_S + burst_s + number / rate for number in range(after)]
    return Schedule(due_s, start, start + burst)


def seen(plan: Schedule, due_s: Sequence[float], answers: Iterable[tuple[float, int]]) -> dict[str, float]:
    """Return the figures; ValueError where nothing was answered of what is looked at.

    ``due_s``: when each request was due; ``answers``: when each came, and the number of its request, in order.
    ``drained_s`` runs from the end of the burst to the last answer to a request of it.
    """
    came_s: dict[int, float] = {}
    last = [-1] * _KEYS
    disordered = 0
    for at_s, number in answers:
        if number not in came_s:
            disordered += number < last[number % _KEYS]
            last[number % _KEYS] = number
            came_s[number] = at_s
    if not came_s:
        raise ValueError("nothing was answered")
    before = latencies(due_s[: plan.start], came_s, plan.start // 2)
    burst = latencies(due_s[: plan.end], came_s, plan.start)
    return {
        "drained_s": max(came_s[n] for n in range(plan.start, plan.end) if n in came_s) - due_s[plan.end - 1],
        "before_p99_ms": before["p99_ms"],
        "burst_p50_ms": burst["p50_ms"],
        "burst_p99_ms": burst["p99_ms"],
        "disordered": disordered,
    }


def main() -> None:
    """Drive, receive, print."""
    bootstrap, requests, results, *numbers = sys.argv[1:]
    gc.disable()  # as benchmarks.open_loop does
    sys.setswitchinterval(SWITCH_S)
    plan = schedule(*map(float, numbers))
    keys = itertools.cycle([b"key-%d" % number for number in range(_KEYS)])
    pairs = [(key, value) for key, (_, value) in zip(keys, produce.requests(len(plan.due_s)), strict=False)]
    receiver = Receiver(bootstrap, results)
    try:
        due_s, late_s = drive(bootstrap, requests, pairs, plan.due_s, linger_ms=LINGER_MS)
        wait_for_answers(receiver, len(pairs))
    finally:
        receiver.close()
    record = AvroRecord("PredictResult")
    came = [(at_s, message) for at_s, message in receiver.came if not is_probe(message)]
    answers = [(at_s, number_of(record.decode(message.value())["id"])) for at_s, message in came]
    late_ms = 1000 * figures.percentile(late_s[plan.start : plan.end], 99)
    print(json.dumps({**seen(plan, due_s, answers), "generator_late_ms": late_ms}))


if __name__ == "__main__":
    main()
