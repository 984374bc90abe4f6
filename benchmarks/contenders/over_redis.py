"""Ours over Redis: a worker process with its default settings; what rolls versions out stays where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import penstock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place


class OverRedis:
    """See Rival."""

    NAME = penstock.NAME
    DESCRIPTION = "penstock worker --watch, connector redis, default settings"

    def __init__(self, url: str) -> None:
        self._url = url

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        return penstock.command(place, route={"connector": "redis"}, more={"redis": {"url": self._url}})
