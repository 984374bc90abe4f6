"""Ours: a worker process with its default settings, started by its ordinary command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks import model
from pipeline.local.ports import free_ports

if TYPE_CHECKING:
    from benchmarks.place import Place

NAME = "penstock"
DESCRIPTION = "penstock worker --watch, at-least-once, default settings"

# The adapter's names for model.OPENVINO.
OPTIONS = {"threads": 1, "streams": 1, "precision": "f32"}


def command(place: Place) -> list[str | Path]:
    """Write ``penstock.yaml`` and return the command; only names, addresses and the model's thread count are set."""
    settings = {
        "kafka": {"bootstrap.servers": place.bootstrap},
        "control": {
            "aspired_topic": f"{place.name}.aspired-versions",
            "states_topic": f"{place.name}.servable-states",
        },
        "worker": {"web_port": free_ports(1)[0]},
        "servables": {model.NAME: {"base_path": str(place.models), "kind": "openvino", "options": OPTIONS}},
        "routes": {
            model.NAME: {
                "request_topic": place.requests,
                "result_topic": place.results,
                "group": place.group,
            }
        },
    }
    path = place.folder / "penstock.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return [Path(sys.executable).with_name("penstock"), "worker", "--config", path, "--watch"]
