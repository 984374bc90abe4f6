"""`penstock demo` as a user starts it: from another directory, by its script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_for

PENSTOCK = Path(sys.executable).with_name("penstock")
# The demo brings its own settings; a shell that has some of its own must not change what it does.
ENVIRON = {**os.environ, "PENSTOCK_BOOTSTRAP": "localhost:1", "PENSTOCK_ROUTES__X": "{servable: unknown}"}


def demo(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> dict[str, object]:
    done = subprocess.run(
        [PENSTOCK, "demo", "--json", *arguments],
        cwd=folder,
        env=environ or ENVIRON,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert not list(folder.iterdir()), "the demo leaves nothing behind"
    return json.loads(done.stdout)


def check(found: dict[str, object], requests: int) -> None:
    assert found["requests"] >= requests
    assert found["answered"] == found["requests"]
    assert (found["lost"], found["duplicated"], found["errors"]) == (0, 0, 0)
    assert set(found["versions"]) == {"1", "2"}
    one, two = found["versions"]["1"], found["versions"]["2"]
    assert one["answered"] + two["answered"] == found["answered"]
    assert 0.85 < one["accuracy"] < two["accuracy"] <= 1
    assert found["version_3"]["state"] == "END"
    assert found["version_3"]["reason"].startswith("invalid_artefact: ")
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["swap_gap_ms"] > 0
    assert found["records_per_s"] > 0


@pytest.mark.slow
def test_the_demo_on_the_embedded_broker(tmp_path):
    found = demo(tmp_path, "--requests", "6000")
    check(found, 6000)
    assert "embedded" in found["broker"]


@pytest.mark.slow
def test_the_demo_on_a_kafka_that_it_starts(tmp_path):
    found = demo(tmp_path, "--broker", "kafka", "--requests", "4000")
    check(found, 4000)
    assert "Apache Kafka" in found["broker"]


@pytest.mark.slow
def test_on_the_users_own_kafka_nothing_stays_behind(tmp_path, kafka):
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    found = demo(tmp_path, "--bootstrap", kafka.bootstrap, "--requests", "4000", environ=clean)
    check(found, 4000)
    assert found["broker"] == f"Kafka at {kafka.bootstrap}"
    assert not [name for name in admin.list_topics(timeout=10).topics if name.startswith("penstock-demo-")]


@pytest.mark.slow
def test_what_is_kept_is_ready_to_be_served_by_hand(tmp_path):
    kept = tmp_path / "kept"
    done = subprocess.run(
        [PENSTOCK, "demo", "--requests", "3000", "--keep", kept],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"penstock.yaml --create && {PENSTOCK}" in done.stdout.replace("&& penstock", f"&& {PENSTOCK}")
    assert "forgotten everything" in done.stdout
    assert sorted(path.name for path in (kept / "models" / "digits").iterdir()) == ["1", "2"]
    assert (kept / "image.npy").exists()
    assert "localhost:9092" in (kept / "penstock.yaml").read_text()
    assert "AVAILABLE" in (kept / "worker.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_interrupted_leaves_no_process(end, tmp_path):
    kept = tmp_path / "kept"
    with subprocess.Popen(
        [PENSTOCK, "demo", "--keep", kept],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_for("a version is served", lambda: "AVAILABLE" in read(kept / "worker.log"), timeout_s=60)
        assert len(processes_of(kept)) >= 2
        process.send_signal(end)
        assert process.wait(20) != 0
    wait_for("no process is left", lambda: not processes_of(kept))


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_demo_with_its_log(tmp_path):
    kept = tmp_path / "kept"
    with subprocess.Popen(
        [PENSTOCK, "demo", "--json", "--keep", kept],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for("a version is served", lambda: "AVAILABLE" in read(kept / "worker.log"), timeout_s=60)
        (worker,) = (pid for pid in processes_of(kept) if "worker" in arguments_of(pid))
        os.kill(worker, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert "`penstock worker` ended with exit code -9" in stderr
    assert "digits/1 AVAILABLE" in stderr


def processes_of(folder: Path) -> list[int]:
    """Processes that were started with the settings in this folder: the demo's own, and no other run's."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if str(folder / "penstock.yaml") in arguments_of(pid)]


def arguments_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")
    except OSError:  # it has ended
        return []


def read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
