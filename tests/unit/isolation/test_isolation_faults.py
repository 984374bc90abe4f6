"""What goes wrong in the process of a version fails its own call with the reason, and the process is replaced."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from obedient import ask

from pipeline.errors import (
    InvalidArtefact,
    InvalidSettings,
    LoadFailed,
    MissingExtra,
    ModelFailed,
    PredictTimedOut,
    ServableDied,
    WrongShape,
)
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.isolation.crew import LOOP, pause_s
from pipeline.isolation.process import how
from pipeline.registry.servable import Servable, ServableId
from pipeline.servables.lookup import LookupAdapter
from pipeline.servables.openvino import OpenVinoAdapter
from tests.waiting import wait_for


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (1, ServableDied, "ended by SIGSEGV; it is being replaced"),
        (2, ServableDied, "ended by SIGKILL"),
        (3, PredictTimedOut, "no answer within 1 s"),
        (4, ServableDied, "exit status 7"),
    ],
    ids=["a null pointer", "kill -9", "a hang", "an exit"],
)
def test_a_call_that_costs_the_process_fails_with_its_reason_and_the_next_is_answered(
    loader_of: Any, number: int, kind: type[ServableDied], words: str
) -> None:
    servable = loader_of(timeout_s=1.0 if number == 3 else 30.0).load()
    before = ask(servable, 0)["pid"]
    with pytest.raises(kind, match=words) as raised:
        ask(servable, 0, number, 0)
    assert raised.value.retriable
    assert raised.value.servable == "m/1"
    after = wait_for("an answer", lambda: answered(servable))
    assert after != before.item()


def answered(servable: Servable) -> int | None:
    try:
        return int(ask(servable, 0)["pid"].item())
    except (ServableDied, PredictTimedOut):
        return None


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (6, ModelFailed, "six is not served"),
        (7, WrongShape, r"shape \[7, 7\], expected \[-1, 1\]"),
        (8, ModelFailed, "SystemExit: eight"),
    ],
)
def test_what_the_servable_raises_comes_over_and_the_process_stays(
    loader_of: Any, number: int, kind: type[Exception], words: str
) -> None:
    servable = loader_of().load()
    before = ask(servable, 0)["pid"].item()
    with pytest.raises(kind, match=words):
        ask(servable, number)
    assert ask(servable, 0)["pid"].item() == before


def test_what_a_model_prints_is_in_the_log_and_is_no_answer(loader_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "pipeline.isolation"):
        servable = loader_of("print('good morning')").load()
        assert ask(servable, 5)["y"].tolist() == [[50.0]]
        wait_for("what it printed", lambda: "garbage" in caplog.text)
    assert any(record.getMessage().startswith("m/1 [") for record in caplog.records)
    assert "good morning" in caplog.text


def test_a_process_that_is_killed_between_two_calls_is_replaced_before_the_next(loader_of: Any) -> None:
    loader = loader_of()
    servable = loader.load()
    pid = ask(servable, 0)["pid"].item()
    os.kill(pid, signal.SIGKILL)
    wait_for("another process", lambda: loader._crew.pids() not in ([], [pid]))
    assert ask(servable, 0)["pid"].item() != pid


def test_the_calls_of_other_processes_are_not_touched_by_one_that_dies(loader_of: Any) -> None:
    loader = loader_of(processes=2)
    servable = loader.load()
    keeper, victim = loader._crew.pids()
    os.kill(victim, signal.SIGKILL)
    wait_for("the end of the victim", lambda: victim not in loader._crew.pids())
    assert all(ask(servable, 0)["pid"].item() != victim for _ in range(20))
    wait_for("two processes", lambda: len(loader._crew.pids()) == 2)
    assert keeper in loader._crew.pids()


# What a load may do, and how it ends.
@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("ctypes.string_at(0)", LoadFailed, "ended by SIGSEGV while it loaded"),
        ("os.kill(os.getpid(), 9)", LoadFailed, "ended by SIGKILL.* while it loaded"),
        ("os._exit(0)", LoadFailed, "exit status 0 while it loaded"),
        ("raise ValueError('odd')", LoadFailed, "ValueError: odd"),
        ("import no_such_module", LoadFailed, "no_such_module"),
        ("raise OSError(5, 'the disk is gone')", OSError, "the disk is gone"),
        ("from pipeline.errors import *; raise InvalidArtefact('m/1', 'half')", InvalidArtefact, "m/1: half"),
        (
            "from pipeline.errors import *; raise MissingExtra('m/1', 'no x', 'x')",
            MissingExtra,
            r"penstock-serving\[x\]",
        ),
    ],
)
def test_a_load_that_fails_in_the_child_fails_as_it_would_here(
    loader_of: Any, code: str, kind: type[Exception], words: str
) -> None:
    loader = loader_of(code)
    with pytest.raises(kind, match=words) as raised:
        loader.load()
    assert type(raised.value) is kind
    assert loader._crew is None


def test_bad_files_and_bad_options_fail_with_the_errors_of_their_kind(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net")
    (tmp_path / "model.bin").write_bytes(b"")
    loader = IsolatedAdapter(OpenVinoAdapter()).loader(ServableId("m", 1), tmp_path, {})
    with pytest.raises(InvalidArtefact, match=r"model\.xml is no XML"):
        loader.load()
    with pytest.raises(InvalidSettings):
        IsolatedAdapter(LookupAdapter()).loader(ServableId("m", 1), tmp_path, {"missing": "x"})


def test_a_process_that_keeps_dying_at_its_start_is_tried_ever_less_and_calls_do_not_wait(
    loader_of: Any, tmp_path: Path
) -> None:
    """It loads once; the next processes find a file that makes them fail, until it is gone."""
    loader = loader_of(f"if os.path.exists({str(tmp_path / 'broken')!r}): os._exit(3)")
    servable = loader.load()
    ask(servable, 0)
    (tmp_path / "broken").touch()
    with pytest.raises(ServableDied):
        ask(servable, 4)
    wait_for("failures in a row", lambda: loader._crew._failures >= LOOP + 2)
    start_s = time.monotonic()
    with pytest.raises(ServableDied, match=r"failed \d+ times in a row \(.*exit status 3.*next try is in"):
        ask(servable, 0)
    assert time.monotonic() - start_s < 5
    (tmp_path / "broken").unlink()
    wait_for("an answer", lambda: answered(servable))
    assert loader._crew._failures == 0


def test_the_pause_before_a_start_grows_with_the_failures_and_is_bounded() -> None:
    pauses = [pause_s(failures) for failures in range(2000)]
    assert pauses[:LOOP] == [0.0] * LOOP
    assert pauses == sorted(pauses)
    assert pauses[LOOP] > 0
    assert pauses[-1] == 30.0


def test_a_call_waits_for_a_process_only_as_long_as_it_may_take(loader_of: Any) -> None:
    """The one process hangs with somebody else's call: that one, and who waits behind it, have their errors in time."""
    servable = loader_of(timeout_s=1.0).load()
    with ThreadPoolExecutor(3) as pool:
        start_s = time.monotonic()
        errors = [one.exception(20) for one in [pool.submit(ask, servable, 3) for _ in range(3)]]
    assert all(isinstance(error, PredictTimedOut | ServableDied) for error in errors)
    assert time.monotonic() - start_s < 15


def test_an_end_is_named_by_its_signal() -> None:
    assert how(-signal.SIGABRT) == "was ended by SIGABRT"
    assert how(-60) == "was ended by signal 60"
    assert how(3) == "ended by itself with exit status 3"


def test_a_child_takes_no_signal_of_the_workers_group_and_is_the_kernels_first_choice(loader_of: Any) -> None:
    loader = loader_of()
    servable = loader.load()
    [pid] = loader._crew.pids()
    assert os.getsid(pid) == pid != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert ask(servable, 0)["pid"].item() == pid
    if sys.platform == "linux":
        own = int(Path("/proc/self/oom_score_adj").read_text())
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == min(1000, own + 500)
