"""A job of Cluster Serving by its own config.yaml, with a Redis and no more: replaced files are its next version."""

from __future__ import annotations

import base64
import os
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from tests.acceptance.cluster_serving.clients import BIGDL, Client
from tests.acceptance.workers import Deployment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def deployment(tmp_path: Path, redis: Any) -> Iterator[Deployment]:
    made = Deployment(tmp_path, redis.url, {"servables": {}, "routes": {}})
    yield made
    made.close()


def write_model(folder: Path, factor: float, at_s: int) -> None:
    """The means of an image's channels, times a factor; its files were written at this time."""
    folder.mkdir(exist_ok=True)
    pixels = ops.parameter([-1, 3, 4, 8], ov.Type.f32)
    means = ops.reduce_mean(pixels, ops.constant(np.array([2, 3])), False)  # noqa: FBT003  # OpenVINO's signature
    result = ops.multiply(means, ops.constant(np.float32(factor)))
    pixels.output(0).set_names({"x"})
    result.output(0).set_names({"y"})
    ov.save_model(ov.Model([result], [pixels]), folder / "means.xml", compress_to_fp16=False)
    for file in folder.iterdir():
        os.utime(file, (at_s, at_s))


def test_a_job_is_served_by_its_config_and_its_files_may_be_replaced(deployment: Deployment, redis: Any) -> None:
    address, job = urlsplit(redis.url), f"job-{uuid.uuid4().hex[:8]}"
    config = deployment.folder / "config.yaml"
    config.write_text(
        f"modelPath: model\njobName: {job}\nredisUrl: {address.hostname}:{address.port}\n"
        "threadPerModel: 1\nflinkRestUrl: localhost:8081\n"
    )
    picture = np.full((4, 8, 3), (40, 0, 200), np.uint8)  # blue, green, red
    image = {"t": {"b64": base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()}}
    for factor, at_s in ((1, 1000), (2, 2000)):
        write_model(deployment.folder / "model", factor, at_s)
        worker = deployment.worker(f"w{factor}", "--cluster-serving", "config.yaml").wait_until_ready()
        assert "flinkresturl has no effect" in worker.log
        with Client(BIGDL) as client:
            client.new("in", "InputQueue", host=address.hostname, port=str(address.port), name=job)
            expected = {"dtype": "float32", "shape": [3], "array": [40 * factor, 0, 200 * factor]}
            # A worker that comes again serves what was aspired last, until the replaced files have become a version.
            ask = partial(client.call, "in", "predict", image)
            wait_for("an answer by these files", lambda: ask() == expected, timeout_s=60)  # noqa: B023  # called at once
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    versions = sorted(path.name for path in (deployment.folder / "penstock-models" / job).iterdir())
    assert versions == ["1000", "2000"]
