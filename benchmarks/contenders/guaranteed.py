"""Ours with a route's guarantee, and nothing else set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contenders import penstock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place


@dataclass(frozen=True)
class Guaranteed:
    """``penstock worker --watch`` whose route has this guarantee."""

    NAME: str

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802  # see Rival
        """What it is."""
        return f"penstock worker --watch, guarantee: {self.NAME}, default settings otherwise"

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        return penstock.command(place, route={"guarantee": self.NAME})
