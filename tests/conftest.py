"""Fixtures and guards for every test: a real Kafka and a real Redis, names nobody else uses, no thread left behind."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from pipeline.local.kafka import LocalKafka
from pipeline.local.redis import LocalRedis
from pipeline.servables.triton import before_tensorflow_or_torch
from tests.schema_registry.stand_in import StandIn
from tests.valkey_server import valkey_server

if TYPE_CHECKING:
    from collections.abc import Iterator

# Threads of other packages that live as long as the process does, by the start of their names.
_LASTING_THREADS: tuple[str, ...] = ("pytest_timeout",)
_THREAD_GRACE_S = 5.0

# Tests of several kinds share this process, and any of them may be the first to import its framework.
before_tensorflow_or_torch()

# No claim is about time: an example that takes long on a busy machine is no failure.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests can be told on the command line."""
    parser.addoption(
        "--fuzz-records",
        type=int,
        metavar="N",
        help="how many records the fuzz tests send, instead of their own numbers",
    )
    parser.addoption("--fuzz-seed", type=int, default=1, metavar="N", help="which records they are [1]")
    parser.addoption(
        "--schedule-seed", type=int, metavar="N", help="let the threads of the registry's tests pause as this seed says"
    )
    parser.addoption("--chaos-seed", type=int, metavar="N", help="what goes wrong in the chaos suite, and when")
    parser.addoption("--chaos-minutes", type=float, metavar="M", help="for how long, all of its runs together")


def pytest_report_header(config: pytest.Config) -> str:
    """Say which records the fuzz tests send, so that a run that fails can be repeated."""
    return f"fuzz: --fuzz-seed {config.getoption('--fuzz-seed')}"


@dataclass(frozen=True)
class RunningKafka:
    """A Kafka to test against; whose it is, is nobody's business."""

    bootstrap: str


@pytest.fixture(scope="session")
def kafka() -> Iterator[RunningKafka]:
    """A real Kafka, shared by all tests of the run: the one at PENSTOCK_TEST_BOOTSTRAP, else one of our own.

    Never skips: a Kafka that can not be started is a failure. A test that stops or kills one starts its own LocalKafka.
    """
    bootstrap = os.environ.get("PENSTOCK_TEST_BOOTSTRAP")
    if bootstrap:
        yield RunningKafka(bootstrap)
        return
    with LocalKafka() as local:
        yield RunningKafka(local.bootstrap)


@dataclass(frozen=True)
class RunningRedis:
    """A Redis to test against; whose it is, is nobody's business."""

    url: str


@pytest.fixture(scope="session")
def redis() -> Iterator[RunningRedis]:
    """A real Redis, shared by all tests of the run: the one at PENSTOCK_TEST_REDIS, else one of our own.

    Never skips: a Redis that can not be started is a failure. A test that stops, kills or fills one starts its own
    LocalRedis.
    """
    url = os.environ.get("PENSTOCK_TEST_REDIS")
    if url:
        yield RunningRedis(url)
        return
    with LocalRedis() as local:
        yield RunningRedis(local.url)


@pytest.fixture(scope="session")
def valkey() -> Iterator[RunningRedis]:
    """A real Valkey, which speaks as Redis does, shared by all tests of the run."""
    with LocalRedis(binary=valkey_server()) as local:
        yield RunningRedis(local.url)


@pytest.fixture
def topic_name() -> str:
    """A topic (or group) name that no other test and no earlier run has used; append to it for more than one."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A schema registry of the test's own."""
    with StandIn() as it:
        yield it


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no settings come from the shell that the tests run in."""
    for variable in ("PENSTOCK_CONFIG", "PENSTOCK_BOOTSTRAP"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Fail the test that leaves a non-daemon thread: it would keep the worker's process alive after its end."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _THREAD_GRACE_S
    for thread in _new_threads(before):
        thread.join(max(0.0, deadline - time.monotonic()))
    left = _new_threads(before)
    assert not left, f"threads left running: {[thread.name for thread in left]}"


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.daemon and not thread.name.startswith(_LASTING_THREADS)
    ]
