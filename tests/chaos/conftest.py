"""What a run is told on the command line, and a cluster that the runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes behind proxies; whoever hurts them heals them."""
    with Cluster() as it:
        yield it
