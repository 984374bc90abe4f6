"""An open loop of so many requests, a process of its own.

``python -m benchmarks.open_loop BOOTSTRAP REQUESTS RESULTS COUNT RATE``: request number n is due n / RATE seconds after
the first, whatever became of those before it, and its latency runs from the moment it was due, not from that at which
it was sent: a generator or a worker that falls behind makes the figures worse, and never hides. Two seconds of the same
load go before, uncounted. ``capacity`` in place of RATE sends as fast as the broker takes them, and tells the rate of
the answers.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import TYPE_CHECKING, Final

from benchmarks import figures, produce
from benchmarks.probe import is_probe
from benchmarks.sending import flush, put
from benchmarks.steady import Receiver, drive, evenly, producer_for, wait_for_answers
from benchmarks.workload import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CAPACITY: Final = "capacity"
# Sender and receiver share one interpreter: neither may keep the other waiting for its usual 5 ms.
SWITCH_S: Final = 0.0002
# One process sends what many clients would: a request to the broker for each record would be the broker's limit.
LINGER_MS: Final = 1
# Connections are made, and the first batches are slow.
_WARM_UP_S: Final = 2.0
_FLUSH_S: Final = 60.0


def latencies(due_s: Sequence[float], came_s: Mapping[int, float], warm_up: int) -> dict[str, float]:
    """Return p50, p99 and the highest latency in ms after the warm-up; ValueError where nothing was answered.

    ``due_s``: when each request was due, by its number; ``came_s``: when its first answer came, by its number.
    """
    took_ms = [1000 * (came_s[number] - due_s[number]) for number in range(warm_up, len(due_s)) if number in came_s]
    if not took_ms:
        raise ValueError(f"none of {len(due_s) - warm_up} requests after the warm-up was answered")
    named = {"p50_ms": 50, "p99_ms": 99, "highest_ms": 100}
    return {name: figures.percentile(took_ms, percent) for name, percent in named.items()}


def send_all(bootstrap: str, topic: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Send as fast as the broker takes them."""
    producer = producer_for(bootstrap, LINGER_MS)
    for key, value in pairs:
        put(producer, topic, key, value)
    flush(producer, _FLUSH_S)


def first_answers(receiver: Receiver) -> dict[int, float]:
    """Return when the first answer to each request came, by its number."""
    came = [(at_s, message) for at_s, message in receiver.came if not is_probe(message)]
    return {number_of((message.key() or b"").decode()): at_s for at_s, message in reversed(came)}


def main() -> None:
    """Drive, receive, print."""
    bootstrap, requests, results, count, rate = sys.argv[1:]
    gc.disable()  # what is kept has no cycles, and each look at it would make requests late
    sys.setswitchinterval(SWITCH_S)
    warm_up = int(count) // 11 if rate == CAPACITY else int(_WARM_UP_S * float(rate))
    pairs = list(produce.requests(int(count) + warm_up))
    receiver = Receiver(bootstrap, results)
    due_s: list[float] = []
    late_s: list[float] = []
    try:
        if rate == CAPACITY:
            send_all(bootstrap, requests, pairs)
        else:
            due_s, late_s = drive(bootstrap, requests, pairs, evenly(float(rate)), linger_ms=LINGER_MS)
        wait_for_answers(receiver, len(pairs))
    finally:
        receiver.close()
    came_s = first_answers(receiver)
    if rate == CAPACITY:
        print(json.dumps({"records_per_s": figures.steady_rate([int(1000 * s) for s in came_s.values()], warm_up)}))
    else:
        late_ms = 1000 * figures.percentile(late_s[warm_up:], 99)
        print(json.dumps({**latencies(due_s, came_s, warm_up), "generator_late_ms": late_ms}))


if __name__ == "__main__":
    main()
