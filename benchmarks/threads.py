"""The data path alone, by one worker of it and by two: ``python -m benchmarks.threads [SECONDS]``; no broker, no model.

Prints how many requests a second are decoded, grouped and answered, and of that how many when two threads do it, and
when two processes do. It runs on any interpreter that has what the data path needs: numpy, msgspec, avro and PyYAML.
"""

from __future__ import annotations

import json
import sys
import sysconfig
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import model
from benchmarks.process import BenchmarkError
from benchmarks.workload import MLP, request_id
from pipeline.clock import SystemClock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.records import DEFAULT_SIGNATURE, PredictRequest
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import manager_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.tensors import Array

_BATCH: Final = 512
_BATCHES: Final = 40
_SECONDS: Final = 5.0
_ROUNDS: Final = 3
# By then all have their requests ready: a thread that is still at it gets the GIL once in five milliseconds.
_READY_S: Final = 4.0


class Zeros:
    """Answers nothing but zeros, as fast as it can."""

    signatures: Mapping[str, Signature] = {
        DEFAULT_SIGNATURE: Signature(
            (TensorSpec(MLP.input, "FP32", (-1, model.FEATURES)),),
            (TensorSpec(MLP.output, "FP32", (-1, model.CLASSES)),),
        )
    }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        del signature
        return {MLP.output: np.zeros((len(inputs[MLP.input]), model.CLASSES), np.float32)}


def requests(start_s: float, seconds: float) -> int:
    """Return how many requests one worker answers in so much time from ``start_s`` on, with a dispatcher of its own."""
    codec, clock, rows = AvroCodec(), SystemClock(), MLP.rows()
    route = RouteSettings(servable=MLP.name, request_topic="requests", result_topic="results")
    dispatcher = Dispatcher(route, manager_with({ServableId(MLP.name, 1): Zeros()}), [codec], clock)
    sent_ms = clock.unix_ms()
    records = []
    for number in range(_BATCHES * _BATCH):
        request = PredictRequest(request_id(number), inputs=(from_array(MLP.input, rows[number % len(rows)][None]),))
        value = codec.encode_request(request)
        records.append(Record(value, request.id.encode(), (), "requests", number % 4, number // 4, sent_ms))
    batches = [records[start : start + _BATCH] for start in range(0, len(records), _BATCH)]
    if time.time() > start_s:
        raise BenchmarkError(f"the requests were not ready within {_READY_S:g} s")
    time.sleep(start_s - time.time())
    done = 0
    while time.time() < start_s + seconds:
        batch = batches[(done // _BATCH) % _BATCHES]
        done += len(dispatcher.answer(dispatcher.decode(batch)))
    return done


def rate(pool: Executor, workers: int, seconds: float) -> float:
    """Return requests a second of so many workers together."""
    return sum(pool.map(requests, [time.time() + _READY_S] * workers, [seconds] * workers)) / seconds


def main(seconds: float) -> dict[str, Any]:
    """Take turns, and return the medians."""
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        rounds = [
            (rate(threads, 1, seconds), rate(threads, 2, seconds), rate(processes, 2, seconds)) for _ in range(_ROUNDS)
        ]
    one, two_threads, two_processes = (float(np.median(column)) for column in zip(*rounds, strict=True))
    return {
        "interpreter": sys.version.split()[0]
        + (" free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
        "one_thread_per_s": round(one),
        "two_threads": round(two_threads / one, 2),
        "two_processes": round(two_processes / one, 2),
    }


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS)))
