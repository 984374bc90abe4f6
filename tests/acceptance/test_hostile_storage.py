"""Storage and records that mean harm: refused or handled as documented, the worker alive, the good stream serving."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import yaml

from pipeline.control.aspired import AspiredPublisher
from pipeline.control.logs import logs_of
from pipeline.records import AspiredVersion, AspiredVersions, State
from pipeline.settings import load
from tests.acceptance.conftest import Deploy
from tests.acceptance.workers import Deployment, Worker, wait_for

STREAM = {"kind": "python", "options": {"class": "factor_model:Factor"}}


def fill(base: Path, outside: Path) -> None:
    """Make every name and file that the documentation speaks of; of the numbers only 7 is a good version."""
    base.mkdir(parents=True)
    names = ["007", "1e3", "-1", "+5", str(2**63), "9" * 200, " 8", "9\n", "two words", "\u0663", "v3", "x" * 255]
    for name in names:
        (base / name).mkdir()
        (base / name / "factor").write_text("7")
    (outside / "factor").write_text("666")
    (base / "20").symlink_to(outside)
    (base / "21").mkdir()
    (base / "21" / "factor").symlink_to(outside / "factor")
    (base / "22").symlink_to("22")
    (base / "23").mkdir()
    os.mkfifo(base / "23" / "factor")
    (base / "24").mkdir()
    (base / "24" / "weights").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(base / "24")  # a socket's path is short
        try:
            listener.bind("factor")
        finally:
            os.chdir(here)


def aspire(it: Deployment, stream: str, *paths: str) -> None:
    publisher = AspiredPublisher(logs_of(it.settings), it.settings.control.aspired_topic, "somebody")
    versions = tuple(AspiredVersion(number, path) for number, path in enumerate(paths, 100))
    publisher.publish(AspiredVersions(stream, versions))
    publisher.close()


def test_hostile_storage_and_records_leave_the_worker_alive_and_the_good_stream_serving(
    deploy: Deploy, tmp_path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    fill(tmp_path / "models" / "hostile", outside)
    (tmp_path / "models" / "plain").write_text("not a directory")
    streams = {name: {"base_path": f"models/{name}", **STREAM} for name in ("factor", "hostile", "plain", "records")}
    streams["hostile"]["versions"] = {"all": True}
    it = deploy(servables=streams)
    it.drop("factor", 1, {"factor": b"1"})
    watcher = it.watcher()
    worker = it.worker("one").wait_until_ready()
    it.wait_for_state(["one"], "hostile", 7, State.AVAILABLE)
    inside = f"{it.models}/records"
    aspire(
        it,
        "records",
        f"{inside}/../../outside",
        f"{outside}",
        "s3://bucket/records/1",
        f"{inside}/a\0b",
        f"{inside}/../records/../../outside",
    )
    for number in range(100, 105):
        [state] = it.wait_for_state(["one"], "records", number, State.END)
        assert state.error is not None
        assert state.error.code == "path_refused"
    it.drop("factor", 2, {"factor": b"2"})
    it.wait_for_state(["one"], "factor", 2, State.AVAILABLE)
    expected = {"factor": [2], "hostile": [7]}
    wait_for("the good stream and the good version", lambda: serves(worker) == expected)
    assert worker.popen.poll() is None
    assert watcher.popen.poll() is None
    assert watcher.log.count("plain: its base path") == 1
    assert "not a directory" in watcher.log
    for refused in ("'20'", "'21'", "'22'", "'23'", "'24'", "'-1'", f"'{2**63}'"):
        assert watcher.log.count(f"ignores {refused}") == 1, refused
    assert "666" not in str(it.states())


def test_streams_come_and_go_with_the_settings_file_and_a_wrong_file_changes_nothing(deploy: Deploy) -> None:
    streams = {name: {"base_path": f"models/{name}", **STREAM} for name in ("factor", "late")}
    it = deploy(servables=streams)
    it.drop("factor", 1, {"factor": b"1"})
    it.drop("late", 5, {"factor": b"5"})
    worker = it.worker("one")
    wait_for("the worker has read its settings", lambda: worker.get("/live")[0] == 200)
    whole = it.config.read_text()
    tree = yaml.safe_load(whole)
    del tree["servables"]["late"]
    replace(it.config, yaml.safe_dump(tree))
    watcher = it.watcher()
    wait_for("the one stream", lambda: worker.versions().get("factor") == [1])
    replace(it.config, "servabels: {}\n")
    wait_for("a word about the wrong file", lambda: "servabels" in watcher.log)
    replace(it.config, whole)
    it.wait_for_state(["one"], "late", 5, State.AVAILABLE)
    del tree["servables"]["factor"]
    tree["servables"]["late"] = streams["late"]
    tree["routes"] = {}
    replace(it.config, yaml.safe_dump(tree))
    it.wait_for_state(["one"], "factor", 1, State.END)
    assert worker.versions()["late"] == [5]
    assert watcher.log.count("late: aspired to") == 1
    assert watcher.popen.poll() is None


def serves(worker: Worker) -> dict[str, list[int]]:
    return {stream: versions for stream, versions in worker.versions().items() if versions}


def replace(config: Path, text: str) -> None:
    other = config.with_suffix(f".{time.monotonic_ns()}")
    other.write_text(text)
    other.rename(config)
    if "servabels" not in text:
        load(config)
