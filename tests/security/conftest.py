"""One secured Kafka for all tests of this folder, and deployments on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.secured import SecuredKafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A Kafka with TLS, SASL and ACLs."""
    kafka = SecuredKafka(tmp_path_factory.mktemp("secured"))
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()
