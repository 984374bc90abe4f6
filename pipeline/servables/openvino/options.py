"""The options of an OpenVINO model, and what they say to OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidSettings
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import ServableId

_ALLOWED: Final = {
    "performance_hint": ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "precision": ("f32", "bf16", "f16"),
}


class OpenVinoOptions(Options, frozen=True):
    """Options of a model; None leaves the choice to OpenVINO.

    ``threads`` and ``streams`` are INFERENCE_NUM_THREADS and NUM_STREAMS, ``performance_hint`` is LATENCY, THROUGHPUT
    or CUMULATIVE_THROUGHPUT, ``device`` is OpenVINO's name of one. ``precision`` (f32, bf16, f16) is that of the
    computation: where the CPU has the instructions, OpenVINO takes bf16 for f32 models by itself, which is faster and
    differs from f32 in the third digit; set f32 where all workers must answer alike.

    ``shapes`` gives inputs another shape, -1 for an axis of any length. ``batch`` gives all inputs another axis 0: N
    rows, of which calls are made (rows that are missing are filled up, and cut off again), or with -1 any number.
    ``cache_dir`` is a directory, absolute or below ``~``, where compiled models outlive the worker.
    """

    threads: int | None = None
    streams: int | None = None
    performance_hint: str | None = None
    device: str = "CPU"
    precision: str | None = None
    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012  # msgspec makes a new one for each
    batch: int | None = None
    cache_dir: str | None = None

    def properties(self) -> dict[str, Any]:
        """Return what OpenVINO is told when it compiles the model."""
        chosen = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.streams,
            "PERFORMANCE_HINT": self.performance_hint,
            "INFERENCE_PRECISION_HINT": self.precision,
            "CACHE_DIR": None if self.cache_dir is None else str(Path(self.cache_dir).expanduser()),
        }
        return {name: value for name, value in chosen.items() if value is not None}


def check(id: ServableId, given: Mapping[str, Any]) -> OpenVinoOptions:  # noqa: A002  # TF Serving's word
    """Return the options that ``penstock.yaml`` gives a stream; raises InvalidSettings."""
    options = check_options(id, given, OpenVinoOptions)
    where = f"options of {id.name}"
    for name, allowed in _ALLOWED.items():
        value = getattr(options, name)
        if value is not None and value not in allowed:
            raise InvalidSettings(where, f"{name} is {value!r}, expected one of {', '.join(allowed)}")
    if options.batch is not None and options.batch < 1 and options.batch != -1:
        raise InvalidSettings(where, f"batch is {options.batch}, expected a number of rows, or -1 for any number")
    for name, shape in options.shapes.items():
        if any(axis < -1 for axis in shape):
            raise InvalidSettings(where, f"shapes: {name} is {list(shape)}, expected lengths, -1 for any length")
    if options.cache_dir is not None and not options.cache_dir.startswith(("/", "~")):
        reason = f"cache_dir is {options.cache_dir!r}, expected an absolute path, or one that begins with ~"
        raise InvalidSettings(where, reason)
    return options
