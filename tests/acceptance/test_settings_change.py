"""The settings file changes while a worker runs: streams come and go, a mistake changes nothing."""

from __future__ import annotations

import json

import yaml

from tests.acceptance.conftest import Deploy
from tests.acceptance.workers import Deployment, wait_for


def rewrite(it: Deployment, **servables: object) -> None:
    """Replace the file as an editor does: at once, by a file of another name."""
    tree = yaml.safe_load(it.config.read_text())
    tree["servables"] = servables
    new = it.config.with_suffix(".new")
    new.write_text(yaml.safe_dump(tree))
    new.replace(it.config)


def answer(it: Deployment, servable: str) -> list[list[float]]:
    done = it.run("predict", "factor", '{"x": [[2.0]]}', "--servable", servable, "--json")
    outputs: list[list[float]] = json.loads(done.stdout)["outputs"]["y"]
    return outputs


def test_streams_come_and_go_with_the_settings_file_and_a_mistake_changes_nothing(deploy: Deploy) -> None:
    it = deploy()
    factor = yaml.safe_load(it.config.read_text())["servables"]["factor"]
    other = {**factor, "base_path": "models/other"}
    it.drop("factor", 1, {"factor": b"1"})
    (it.models / "other").mkdir()
    it.drop("other", 5, {"factor": b"5"})
    worker = it.worker("one", "--watch").wait_until_ready()
    assert worker.versions() == {"factor": [1]}
    rewrite(it, factor=factor, other=other)
    wait_for("the new stream", lambda: worker.versions() == {"factor": [1], "other": [5]})
    assert answer(it, "other") == [[10.0]]
    good = it.config.read_text()
    it.config.write_text("servables: [")
    wait_for("the mistake is reported", lambda: "the settings stay as they were" in worker.log)
    assert worker.versions() == {"factor": [1], "other": [5]}
    it.config.write_text(good)
    rewrite(it, factor=factor)
    wait_for("the stream is gone", lambda: worker.versions() == {"factor": [1]})
    assert answer(it, "factor") == [[2.0]]
    rewrite(it, factor={**factor, "batching": {"axes": {"x": ["rows"]}}})  # it has two axes
    predict = ("predict", "factor", '{"x": [[2.0]]}')
    wait_for("other batching", lambda: "batching.axes of factor/1" in it.attempt(*predict).stderr)
    rewrite(it, factor=factor)
    wait_for("the batching of before", lambda: it.attempt(*predict).returncode == 0)
    assert worker.popen.poll() is None
