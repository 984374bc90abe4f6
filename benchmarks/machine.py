"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    "confluent-kafka",
    "fastavro",
    "faust-streaming",
    "hiredis",
    "numpy",
    "onnxruntime",
    "openvino",
    "penstock-serving",
    "redis",
    "tensorflow",
    "torch",
)


def describe(broker: str, pinned: str) -> dict[str, Any]:
    """Return what a reader needs to judge the figures; ``broker`` and ``pinned`` are the harness's own words."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "broker": broker,
        "pinned": pinned,
        "load_1min": round(os.getloadavg()[0], 2),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
