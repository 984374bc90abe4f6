"""Images in, labels out, over Kafka: what the page of pipelines says, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino  # noqa: F401  # its import starts a thread that lasts: here, and not in the middle of a test
import pytest
import yaml

from pipeline.client import InputQueue
from pipeline.errors import RemoteError
from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.pages import blocks


def test_the_page_of_pipelines_is_true_over_kafka(
    deploy: Deploy,
    tmp_path: Path,
    kafka: Any,
    topic_name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    writes, asks = blocks("docs/servables/pipeline.md", "python")
    [text] = blocks("docs/servables/pipeline.md", "yaml")
    # The route has a name of its own, so that its topics are this run's.
    tree = yaml.safe_load(text)
    tree["routes"] = {
        topic_name: {
            "servable": "digit-images",
            "request_topic": f"{topic_name}.requests",
            "result_topic": f"{topic_name}.results",
        }
    }
    it = deploy(**tree)
    names: dict[str, Any] = {}
    exec(writes, names)
    worker = it.worker("one", "--watch").wait_until_ready()
    [state] = it.wait_for_state(["one"], "digit-images", 1, State.AVAILABLE)
    assert state.description is not None
    assert state.description.notes[1].startswith("step model: openvino")
    exec(asks.replace('"digit-images"', f'"{topic_name}"').replace("localhost:9092", kafka.bootstrap), names)
    assert capsys.readouterr().out.startswith("b'zero' 0.9")
    with InputQueue(topic_name, bootstrap=kafka.bootstrap) as requests, pytest.raises(RemoteError) as caught:
        requests.predict({"image": b"no image"}, timeout=20)
    assert caught.value.code == "invalid_input"
    assert worker.popen.poll() is None
