"""Three workers and a watcher on a real Kafka: whatever happens to whom, all end in the same serving set."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from typing import Any

from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.workers import Deployment, Worker, wait_for

NAMES = ("one", "two", "three")

# A version's file `refused-by` holds the name of a worker on which it does not load.
MODEL = """
import sys
import numpy as np

class Factor:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def load(self, path):
        refused_by = path / "refused-by"
        if refused_by.exists() and refused_by.read_text() == sys.argv[sys.argv.index("--id") + 1]:
            raise ValueError("not on this worker")

    def predict(self, inputs):
        return {"y": inputs["x"]}
"""


class Fleet:
    """A deployment with its workers by name, and a watcher."""

    def __init__(self, deploy: Deploy, **watch: Any) -> None:
        stream = {"base_path": "models/factor", "kind": "python", "options": {"class": "fleet_model:Factor"}}
        self.it: Deployment = deploy(servables={"factor": stream}, worker={"heartbeat_interval_s": 1.0}, watch=watch)
        (self.it.folder / "fleet_model.py").write_text(MODEL)
        self.workers: dict[str, Worker] = {}
        self.drop(1)
        self.watcher = self.it.watcher()
        for name in NAMES:
            self.workers[name] = self.it.worker(name)
        for worker in self.workers.values():
            worker.wait_until_ready()

    def drop(self, version: int, refused_by: str = "") -> None:
        files = {"factor": str(version).encode()} | ({"refused-by": refused_by.encode()} if refused_by else {})
        self.it.drop("factor", version, files)

    def restart(self, name: str) -> None:
        self.workers[name].kill()
        self.workers[name] = self.it.worker(name)

    def restart_watcher(self) -> None:
        self.watcher.kill()
        self.watcher = self.it.watcher()

    def serves(self, *versions: int) -> None:
        """Wait until every worker serves just these, and says so in the states topic."""

        def reached() -> bool:
            own = {name: worker.versions().get("factor") for name, worker in self.workers.items()}
            told = {
                sign.worker: list(stream.available)
                for sign in self.it.fleet().workers
                for stream in sign.streams
                if stream.is_settled
            }
            return own == told == {name: list(versions) for name in self.workers}

        wait_for(f"{sorted(self.workers)} serve {versions}", reached, every_s=0.2)

    def change(self, *arguments: str) -> dict[str, Any]:
        """Run a command of `penstock versions` that has to succeed, and return what it says."""
        return dict(json.loads(self.it.run("versions", *arguments, "--json").stdout))

    def followed(self, report: dict[str, Any]) -> Iterable[str]:
        return {worker["worker"] for worker in report["workers"] if worker["stage"] == "done"}


def test_a_fleet_is_promoted_pinned_rolled_back_and_killed_and_stays_one(deploy: Deploy) -> None:
    """Labels, pins, roll-back, kill -9 of each process, and a worker that comes late."""
    fleet = Fleet(deploy)
    assert fleet.followed(fleet.change("promote", "factor", "1")) == set(NAMES)
    fleet.drop(2)
    fleet.serves(1, 2)  # 1 has a label, 2 is the latest
    fleet.change("promote", "factor", "2")
    fleet.serves(2)
    pinned = fleet.change("pin", "factor", "1")
    assert (pinned["outcome"], fleet.followed(pinned)) == ("done", set(NAMES))
    fleet.serves(1)
    fleet.drop(3)
    wait_for("the watcher leaves it alone", lambda: "what was found (3) is not published" in fleet.watcher.log)

    fleet.workers["two"].kill()
    wait_for("two is gone", lambda: "AVAILABLE, worker gone" in fleet.it.run("versions", "factor").stdout)
    gone = fleet.change("reload", "factor")
    assert [worker["worker"] for worker in gone["workers"] if worker["stage"] == "gone"] == ["two"]
    assert fleet.followed(gone) == {"one", "three"}
    for name in NAMES:
        fleet.restart(name)
    fleet.restart_watcher()
    fleet.workers["late"] = fleet.it.worker("late")
    fleet.serves(1)
    states = [state for state in fleet.it.fleet().states if state.version == 1]
    assert {(state.worker, str(state.state)) for state in states} == {(name, "AVAILABLE") for name in fleet.workers}
    assert len(states) == len(fleet.workers)

    fleet.change("unpin", "factor")
    fleet.serves(2, 3)  # the label has stayed with 2 all the time
    assert fleet.change("rollback", "factor")["record"]["labels"] == {"stable": 2}
    fleet.serves(2)
    fleet.workers["late"].signal(signal.SIGTERM)
    assert fleet.workers["late"].wait() == 0
    workers = json.loads(fleet.it.run("versions", "workers", "--json").stdout)
    assert {worker["worker"] for worker in workers} == set(NAMES)


def test_a_version_that_fails_on_one_worker_is_taken_out_everywhere(deploy: Deploy) -> None:
    """By the watcher's gate, by a command's, and across restarts; a good version then goes live."""
    fleet = Fleet(deploy, halt_on_failure=True)
    fleet.serves(1)
    fleet.drop(2, refused_by="two")
    fleet.it.wait_for_state(["two"], "factor", 2, State.END)
    wait_for("halted", lambda: "factor/2 failed on two" in fleet.watcher.log)
    fleet.serves(1)
    shown = fleet.it.run("versions", "factor").stdout
    assert "not on this worker" in shown

    refused = fleet.it.attempt("versions", "pin", "factor", "2", "--halt-on-failure")
    assert refused.returncode == 1
    assert "halted, what stood before is aspired again" in refused.stderr
    assert "two (" in refused.stderr
    fleet.serves(1)
    fleet.restart("two")
    fleet.restart_watcher()
    fleet.serves(1)
    fleet.drop(3)
    fleet.serves(3)
