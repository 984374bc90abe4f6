"""The page of the Python client, run against a real Kafka and a worker that answers with the inputs."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from tests.integration.echo_workers import KafkaEcho
from tests.pages import blocks

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_page_of_the_client_does_what_it_says(kafka, topic_name):
    worker = KafkaEcho(kafka.bootstrap, topic_name)
    worker.prepare()
    thread = threading.Thread(target=worker.run)
    thread.start()
    code = "".join(blocks("docs/client.md", "python"))
    code = code.replace("localhost:9092", kafka.bootstrap).replace('"digits"', repr(topic_name))
    code = code.replace("timeout=5", "timeout=20", 1)  # the first waits for topics and group
    names: dict[str, object] = {}
    try:
        exec(compile(code, str(PAGE), "exec"), names)
    finally:
        worker.stopping.set()
        thread.join(10)
    rows = np.ones((2, 4), np.float32)
    answers = [names["scores"], names["again"], names["first"], *names["answers"]]
    assert len(answers) == 13
    assert all(np.array_equal(answer, rows) for answer in answers)
    assert sorted(names["found"]) == sorted(names["ids"])
    assert names["problem"] == "model_error"
