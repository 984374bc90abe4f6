"""The circuit of a route: what happens while its servable fails every batch."""

from __future__ import annotations

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section


class CircuitSettings(Section, frozen=True):
    """When the circuit of a route opens, and what becomes of its requests then. 0 for ``after_batches`` is never."""

    after_batches: int = 0
    action: str = "stop"
    retry_after_s: float = 30.0


def check_circuit(circuit: CircuitSettings, place: str) -> None:
    """Raise InvalidSettings for what is out of range."""
    if circuit.after_batches < 0:
        raise InvalidSettings(
            f"{place}.after_batches", f"must not be negative, got {circuit.after_batches}; 0 is never"
        )
    if circuit.action not in ("stop", "dead_letter"):
        raise InvalidSettings(f"{place}.action", f"{circuit.action!r} is not stop or dead_letter")
    if circuit.retry_after_s <= 0:
        raise InvalidSettings(f"{place}.retry_after_s", f"must be above 0, got {circuit.retry_after_s:g}")
