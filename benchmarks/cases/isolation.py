"""Isolation: a call of a version in a process of its own against the same in a thread of the worker; no broker.

Both are loaded in one process and called in turns. The target is about 64 images and a network of ResNet-50's shape;
beside that stand what it takes to move them, and the round trip of one row, of a Python object that computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import machine, report
from benchmarks.process import helper

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "isolation"
REQUESTS: Final = 3
ROUNDS: Final = 3
TARGET: Final = 1.15
_NAMES: Final = ("process", "thread")


def run(harness: Harness, rounds: int, requests: int) -> report.Report:  # noqa: ARG001  # a case needs no broker
    """Measure all rounds, each with ``requests`` large batches per contender; raises BenchmarkError."""
    made: list[dict[str, Any]] = [helper("benchmarks.isolation_cost", requests) for _ in range(rounds)]

    def of(figure: str) -> dict[str, list[float]]:
        return {name: [one[figure][name] for one in made] for name in _NAMES}

    return report.make(
        case=NAME,
        measure="one call on 64 x 3 x 224 x 224 FP32 of a network of ResNet-50's shape",
        unit="ms",
        target=TARGET,
        better="lower",
        rounds=of("network_ms"),
        others={
            "the same images, nothing computed, ms": of("moving_ms"),
            "one row of four numbers, nothing computed, us": of("asking_us"),
        },
        descriptions={"process": "isolation: process", "thread": "isolation: thread"},
        accounts={"both": [one["account"] for one in made]},
        settings={"calls": f"{requests} a round and contender, in turns", "openvino": {"precision": "f32"}},
        machine=machine.describe("none", "nobody"),
    )
