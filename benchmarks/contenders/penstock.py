"""Ours: a worker process with its default settings, started by its ordinary command."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks import model
from pipeline.local.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.place import Place

NAME = "penstock"
DESCRIPTION = "penstock worker --watch, at-least-once, default settings"


@dataclass(frozen=True)
class Worker:
    """Ours with some settings that are not its defaults; see Rival, and ``command``."""

    NAME: str
    DESCRIPTION: str
    route: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        return command(place, route=self.route, more=self.more)


def servable(base_path: Path) -> dict[str, Any]:
    """Return the settings of a stream of the model's versions."""
    return {"base_path": str(base_path), "kind": "openvino", "options": model.OPTIONS}


def command(
    place: Place,
    servables: Mapping[str, Any] | None = None,
    worker: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[str | Path]:
    """Write ``penstock.yaml`` and return the command; only names, addresses and the model's thread count are set.

    ``servables`` takes the place of the model's one stream; ``worker`` is added to that section, ``route`` to
    the route, and ``more`` are further sections.
    """
    settings = {
        "kafka": {"bootstrap.servers": place.bootstrap},
        "control": {
            "aspired_topic": f"{place.name}.aspired-versions",
            "states_topic": place.states,
        },
        "worker": {"web_port": free_ports(1)[0], **(worker or {})},
        "servables": servables or {model.NAME: servable(place.models)},
        "routes": {
            model.NAME: {
                "request_topic": place.requests,
                "result_topic": place.results,
                "group": place.group,
                **(route or {}),
            }
        },
        **(more or {}),
    }
    path = place.folder / "penstock.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return [Path(sys.executable).with_name("penstock"), "worker", "--config", path, "--watch"]
