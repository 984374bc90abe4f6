"""A deployment for each test: topics of its own on the shared Kafka, or streams on the shared Redis; and a servable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.redis import LocalRedis
from pipeline.redis_access import connect
from pipeline.settings import RedisSettings
from tests.acceptance.workers import Deployment

_MODEL = """
import time
import numpy as np

class Factor:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def load(self, path):
        self.factor = float((path / "factor").read_text())

    def predict(self, inputs):
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen is not served")
        time.sleep(%g)
        return {"y": inputs["x"] * np.float32(self.factor)}
"""

Deploy = Callable[..., Deployment]


def factor_model(call_s: float = 0.001) -> str:
    """Return the module of the servable that multiplies: by the number in its version's file ``factor``.

    A row with 13 makes it raise. A call takes its time, so that a worker that is killed is killed in the middle of it.
    """
    return _MODEL % call_s


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    """A Redis of the module's own."""
    with LocalRedis() as local:
        yield local


@pytest.fixture(scope="module")
def raw(server: LocalRedis) -> Iterator[Any]:
    """Redis as it is."""
    client = connect(RedisSettings(url=server.url), "test")
    yield client
    client.close()


@pytest.fixture
def deploy(tmp_path: Path, kafka: Any) -> Iterator[Deploy]:
    """Make a deployment with the stream and route ``factor``, its sections replaced by the arguments."""
    yield from _deploying(tmp_path, kafka.bootstrap)


@pytest.fixture
def deploy_on_redis(tmp_path: Path, redis: Any) -> Iterator[Deploy]:
    """As ``deploy``, on a Redis alone."""
    yield from _deploying(tmp_path, redis.url)


def _deploying(tmp_path: Path, address: str) -> Iterator[Deploy]:
    made: list[Deployment] = []

    def make(**sections: Any) -> Deployment:
        (tmp_path / "factor_model.py").write_text(factor_model())
        stream = {"base_path": "models/factor", "kind": "python", "options": {"class": "factor_model:Factor"}}
        (tmp_path / "models" / "factor").mkdir(parents=True, exist_ok=True)
        tree = {"servables": {"factor": stream}, "routes": {"factor": {}}, **sections}
        made.append(Deployment(tmp_path, address, tree))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()
