"""Ours with a second stream that has no version yet: heavy versions of either can be dropped while it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import model
from benchmarks.contenders import penstock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place

OTHER = "other"


@dataclass(frozen=True)
class Swapping:
    """``penstock worker --watch`` with some more settings of its section ``worker``."""

    NAME: str
    DESCRIPTION: str
    worker: dict[str, Any]

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command; the base paths lie in the place's own folder."""
        servables = {name: penstock.servable(base_path(place, name)) for name in (model.NAME, OTHER)}
        return penstock.command(place, servables, self.worker)


def base_path(place: Place, stream: str) -> Path:
    """Return where the versions of a stream are dropped."""
    return place.folder / "models" / stream
