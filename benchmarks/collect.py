"""The collector, a process of its own, accounts: ``python -m benchmarks.collect BOOTSTRAP REQUESTS RESULTS WARM_UP``.

Options: ``--workload`` with ``--expected``, a .npy file with what each distinct row of it is answered, and ``--wire``;
or ``--unread``: by the records' keys, which are the ids, whatever the answers say. What ``benchmarks.probe`` asked is
not counted.

It runs when the contender has ended, so it costs no contender anything and misses no late duplicate. The time of a
result is the broker's (LogAppendTime): one clock, which no contender and no collector can hold up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import accounting, figures, model, wire
from benchmarks.probe import is_probe
from benchmarks.reading import read
from benchmarks.workload import MLP, WORKLOADS

if TYPE_CHECKING:
    from confluent_kafka import Message

    from benchmarks.avro_records import Datum
    from benchmarks.workload import Workload

_TOLERANCE: Final = 1e-3

Expected = Callable[[model.Floats], model.Floats]
Accounting = Callable[[Iterable["Message"], Iterable["Message"]], accounting.Account]


def by_row(load: Workload, answers: model.Floats) -> Expected:
    """Return rows -> answers, for the distinct rows of a workload, whose ``answers`` stand in their order."""
    known = {row.tobytes(): answer for row, answer in zip(load.rows(), answers, strict=True)}
    return lambda rows: np.array([known[row.tobytes()] for row in rows])


def account(
    requests: list[Datum], results: list[Datum], load: Workload = MLP, expect: Expected = model.expected
) -> accounting.Account:
    """Return the account, every output compared with what is expected of the request."""
    ids = [request["id"] for request in requests]
    errors = sum(result["error"] is not None for result in results)
    inputs = b"".join(request["inputs"][0]["data"] for request in requests)
    expected = expect(np.frombuffer(inputs, "<f4").reshape(-1, *load.row_shape))
    position = {name: number for number, name in enumerate(ids)}
    answered = [result for result in results if result["error"] is None and result["id"] in position]
    got = np.frombuffer(b"".join(result["outputs"][0]["data"] for result in answered), "<f4")
    wanted = expected[[position[result["id"]] for result in answered]]
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    is_close = np.abs(got.reshape(-1, load.classes) - wanted).max(axis=1, initial=0) < _TOLERANCE * scale
    return accounting.account(ids, [result["id"] for result in results], errors, int((~is_close).sum()))


def account_by_key(requests: Iterable[Message], results: Iterable[Message]) -> accounting.Account:
    """Return the account by the records' keys; the answers are not looked at."""
    asked, answered = ([(message.key() or b"").decode() for message in records] for records in (requests, results))
    return accounting.account(asked, answered)


def collect(bootstrap: str, requests: str, results: str, warm_up: int, account: Accounting) -> dict[str, Any]:
    """Return the account of the two topics, and the rate after the warm-up and the first result: 0 where none came."""
    asked, messages = (
        [message for message in read(bootstrap, topic) if not is_probe(message)] for topic in (requests, results)
    )
    took_ms = [message.timestamp()[1] for message in messages]
    return {
        "account": account(asked, messages),
        "records_per_s": figures.steady_rate(took_ms, warm_up) if len(messages) > max(1, warm_up) else 0.0,
        "result_bytes": max((len(message.value() or b"") for message in messages), default=0),
    }


def main() -> None:
    """Account and print."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "requests", "results"):
        parser.add_argument(name)
    parser.add_argument("warm_up", type=int)
    parser.add_argument("--workload", choices=WORKLOADS, default=MLP.name)
    parser.add_argument("--expected")
    parser.add_argument("--wire", choices=wire.NAMES, default=wire.AVRO)
    parser.add_argument("--unread", action="store_true")
    options = parser.parse_args()
    load = WORKLOADS[options.workload]
    expect = by_row(load, np.load(options.expected)) if options.expected else model.expected
    records = wire.named(options.wire)

    def by_answer(requests: Iterable[Message], results: Iterable[Message]) -> accounting.Account:
        asked = [records.request.decode(message.value()) for message in requests]
        return account(asked, [records.result.decode(message.value()) for message in results], load, expect)

    topics = (options.bootstrap, options.requests, options.results)
    print(json.dumps(collect(*topics, options.warm_up, account_by_key if options.unread else by_answer)))


if __name__ == "__main__":
    main()
