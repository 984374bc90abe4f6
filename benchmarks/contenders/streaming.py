"""Ours with many servable streams at once, all of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contenders import penstock
from benchmarks.produce import stream_names

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place


@dataclass(frozen=True)
class Streaming:
    """``penstock worker --watch`` with so many streams, and one route to all of them."""

    streams: int

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        return f"{self.streams}-streams"

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802  # see Rival
        """What it is."""
        return f"{penstock.DESCRIPTION}, {self.streams} streams"

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        names = stream_names(self.streams)
        servables = {name: penstock.servable(place.models) for name in names}
        return penstock.command(place, servables, route={"servable": names[0]})
