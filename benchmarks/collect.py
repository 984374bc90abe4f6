"""The collector, a process of its own, accounts: ``python -m benchmarks.collect BOOTSTRAP REQUESTS RESULTS WARM_UP``.

Options: ``--workload`` with ``--expected``, a .npy file with what each distinct row of it is answered, and ``--wire``.
What ``benchmarks.probe`` asked is not counted.

It runs when the contender has ended, so it costs no contender anything and misses no late duplicate. The time of a
result is the broker's (LogAppendTime): one clock, which no contender and no collector can hold up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import accounting, figures, model, wire
from benchmarks.probe import is_probe
from benchmarks.reading import read
from benchmarks.workload import MLP, WORKLOADS

if TYPE_CHECKING:
    from benchmarks.avro_records import Datum
    from benchmarks.workload import Workload

_TOLERANCE: Final = 1e-3


Expected = Callable[[model.Floats], model.Floats]


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


def collect(
    bootstrap: str,
    requests: str,
    results: str,
    warm_up: int,
    load: Workload = MLP,
    expect: Expected = model.expected,
    wire_name: str = wire.AVRO,
) -> dict[str, Any]:
    """Return the account of the two topics, and the rate after the warm-up and the first result: 0 where none came."""
    records = wire.named(wire_name)
    asked = [records.request.decode(message.value()) for message in read(bootstrap, requests) if not is_probe(message)]
    messages = [message for message in read(bootstrap, results) if not is_probe(message)]
    answers = [records.result.decode(message.value()) for message in messages]
    took_ms = [message.timestamp()[1] for message in messages]
    return {
        "account": account(asked, answers, load, expect),
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
    options = parser.parse_args()
    load = WORKLOADS[options.workload]
    expect = by_row(load, np.load(options.expected)) if options.expected else model.expected
    topics = (options.bootstrap, options.requests, options.results)
    print(json.dumps(collect(*topics, options.warm_up, load, expect, options.wire)))


if __name__ == "__main__":
    main()
