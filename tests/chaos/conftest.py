"""A cluster that the runs share, and the time that they may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster

# No run that goes on is ended by the clock: on a loaded machine, healing takes several times as long as it does alone.
_TIMEOUT_OF_ITS_LENGTH = 4
_TIMEOUT_MORE_S = 600


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave runs to `make chaos`, which says for how long they are, and let them take the time that this wants."""
    minutes = config.getoption("--chaos-minutes")
    runs = [item for item in items if "cluster" in getattr(item, "fixturenames", ())]
    if minutes is None:
        items[:] = [item for item in items if item not in runs]
        config.hook.pytest_deselected(items=runs)
    else:
        for item in runs:
            item.add_marker(pytest.mark.timeout(60 * minutes * _TIMEOUT_OF_ITS_LENGTH + _TIMEOUT_MORE_S))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes behind proxies; whoever hurts them heals them."""
    with Cluster() as it:
        yield it
