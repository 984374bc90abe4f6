"""A contender in an environment of its own: what one would use instead of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import environment, wire
from benchmarks.contenders import work
from pipeline.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.place import Place


@dataclass(frozen=True)
class Peer:
    """One process of ``benchmarks.contenders.MODULE``, which imports nothing of ours.

    ``share``: of the requests that ours gets; a slow one gets fewer. ``is_groupless``: it reads only what comes after
    its start, and commits nothing. ``target``: how many times as fast ours shall be; None where nothing was promised.
    ``is_unread``: its answers are the same bytes for all, and are not looked at.
    """

    NAME: str
    DESCRIPTION: str
    module: str
    environment: str
    share: float
    target: float | None = None
    guarantee: str = "at-least-once"
    wire: str = wire.AVRO
    is_groupless: bool = False
    is_unread: bool = False
    codec: str = "fastavro"
    settings: Mapping[str, Any] = field(default_factory=dict)
    ports: int = 0

    def command(self, place: Place) -> list[str | Path]:
        """Return the command, run by the interpreter of its environment, which must be set up."""
        settings = {**work.settings_for(place, self.codec), **self.settings, "ports": free_ports(self.ports)}
        return [
            environment.python(self.environment),
            "-m",
            f"{__package__}.{self.module}",
            json.dumps(settings),
        ]
