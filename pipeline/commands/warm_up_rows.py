"""What ``penstock warm-up`` prints of a request: one value a column, for a table or for JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.records import WarmUp
    from pipeline.tensors import Tensor
    from pipeline.warm_up.run import Verdict


def of_record(position: int, record: WarmUp) -> dict[str, Any]:
    """Return the columns of a request in a file."""
    return {
        "record": position,
        "description": record.description,
        "signature": record.signature,
        "inputs": _layout(record.inputs),
        "expected": _layout(record.expected or ()),
        "rtol": record.rtol,
        "atol": record.atol,
        "iterations": record.iterations,
        "batch_sizes": record.batch_sizes,
    }


def of_verdict(verdict: Verdict, duration_ms: float) -> dict[str, Any]:
    """Return the columns of a request that was answered, or was not."""
    error = verdict.error
    return {
        "record": verdict.record,
        "kind": "golden" if verdict.is_golden else "warm-up",
        "calls": verdict.calls,
        "ms": round(duration_ms, 1),
        "verdict": "ok" if error is None else error.code,
        "description": verdict.description,
        "reason": "" if error is None else str(error),
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a row as the texts of a table."""
    return tuple(map(_cell, row.values()))


def _layout(tensors: Sequence[Tensor]) -> dict[str, str]:
    return {tensor.name: f"{tensor.datatype} {list(tensor.shape)}" for tensor in tensors}


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {layout}" if name else layout for name, layout in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
