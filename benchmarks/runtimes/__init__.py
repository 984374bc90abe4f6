"""The frameworks that compute: each writes a network as a version of its kind, and runs it without anything of ours.

A module has ``KIND``, ``OPTIONS`` (the adapter's, for one thread), ``write(load, version)`` and ``run(load, version)``,
which returns rows -> answers, both float32. It is imported in processes of its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.workload import CHANNELS_LAST, DIGITS, IMAGES, MLP, WIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload


class Runtime(Protocol):
    """One of the modules here."""

    @property
    def KIND(self) -> str:  # noqa: N802  # a constant of its module
        """The kind of servable."""
        ...

    @property
    def OPTIONS(self) -> Mapping[str, Any]:  # noqa: N802  # likewise
        """The options of the stream."""
        ...

    def write(self, load: Workload, version: Path) -> None:
        """Write the network of a workload to the directory of a version, which exists."""
        ...

    def run(self, load: Workload, version: Path) -> Callable[[Floats], Floats]:
        """Load it with the framework alone, on one thread."""
        ...


def named(name: str) -> Runtime:
    """Return a runtime; its framework is not imported before its functions are called."""
    runtime: Runtime = importlib.import_module(f"{__name__}.{name}")
    return runtime


def workload_for(name: str, network: str) -> Workload:
    """Return the workload of a network, ``mlp``, ``wide-mlp``, ``resnet50`` or ``digits``, as a runtime takes it."""
    images = CHANNELS_LAST if name == "tensorflow" else IMAGES
    return {MLP.name: MLP, WIDE.name: WIDE, DIGITS.name: DIGITS, IMAGES.name: images}[network]
