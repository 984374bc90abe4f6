"""A cluster that the runs share, and the time that they may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster

MINUTES = 2.0
# No run that goes on is ended by the clock: on a loaded machine, healing takes several times as long as it does alone.
_TIMEOUT_OF_ITS_LENGTH = 4
_TIMEOUT_MORE_S = 600


@pytest.fixture(scope="session")
def minutes(pytestconfig: pytest.Config) -> float:
    """For how long things go wrong, all runs together."""
    return minutes_of(pytestconfig)


def minutes_of(config: pytest.Config) -> float:
    """Return what the command line says, else what every run of all tests takes."""
    return float(config.getoption("--chaos-minutes") or MINUTES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let runs take the time that they want."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(60 * minutes_of(config) * _TIMEOUT_OF_ITS_LENGTH + _TIMEOUT_MORE_S))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes behind proxies; whoever hurts them heals them."""
    with Cluster() as it:
        yield it
