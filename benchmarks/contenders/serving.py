"""Ours with the version of one runtime, and that runtime alone: the two that a case compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import model, runtimes
from benchmarks.contenders import penstock

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place
    from benchmarks.workload import Workload


@dataclass(frozen=True)
class Serving:
    """``penstock worker --watch`` with one stream of one kind; batches of at most ``batch`` rows."""

    runtime: str
    network: str
    base_path: Path
    batch: int

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        return self.runtime

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802  # see Rival
        """What it is."""
        return f"{penstock.DESCRIPTION}, batches of {self.batch}"

    @property
    def load(self) -> Workload:
        """What it is asked."""
        return runtimes.workload_for(self.runtime, self.network)

    @property
    def expected(self) -> Path:
        """Where the answers of the runtime alone lie."""
        return self.base_path / "1.npy"

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        runtime = runtimes.named(self.runtime)
        stream = {
            "base_path": str(self.base_path),
            "kind": runtime.KIND,
            "options": dict(runtime.OPTIONS),
        }
        route = {"max_batch_size": self.batch}
        return penstock.command(place, {model.NAME: stream}, route=route)
