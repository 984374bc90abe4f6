"""Programs that know nothing of Penstock but its protocol: JSON over Kafka, and Avro with the schema files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from tests.acceptance.conftest import Deploy

# Neither program imports anything of ours; both run in a directory where nothing of ours can be found.
JSON_CLIENT = """
import json, sys, time
from confluent_kafka import Consumer, Producer, TopicPartition
bootstrap, requests, results = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "json-client"})
consumer.assign([TopicPartition(results, p, 0) for p in consumer.list_topics(results, 10).topics[results].partitions])
producer = Producer({"bootstrap.servers": bootstrap})
body = {"id": "abc", "inputs": [{"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}]}
producer.produce(requests, json.dumps(body), headers={"content-type": "application/json"})
producer.flush()
deadline = time.time() + 30
while time.time() < deadline:
    message = consumer.poll(1)
    if message is not None and not message.error():
        print(json.dumps(json.loads(message.value())))
        break
consumer.close()
assert not [name for name in sys.modules if name.split(".")[0] in ("pipeline", "connectors", "schemas")]
"""
AVRO_CLIENT = """
import io, json, struct, sys, time
import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition
bootstrap, requests, results, folder = sys.argv[1:]
load = lambda name: fastavro.parse_schema(json.load(open(f"{folder}/{name}.avsc")))
request_schema, result_schema = load("PredictRequest"), load("PredictResult")
fingerprint = lambda name: bytes.fromhex(fastavro.schema.fingerprint(
    fastavro.schema.to_parsing_canonical_form(json.load(open(f"{folder}/{name}.avsc"))), "CRC-64-AVRO"))
buffer = io.BytesIO(b"\\xc3\\x01" + fingerprint("PredictRequest"))
buffer.seek(0, 2)
fastavro.schemaless_writer(buffer, request_schema, {"id": "avro", "inputs": [
    {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": struct.pack("<f", 21.0)}]})
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "avro-client"})
consumer.assign([TopicPartition(results, p, 0) for p in consumer.list_topics(results, 10).topics[results].partitions])
producer = Producer({"bootstrap.servers": bootstrap})
producer.produce(requests, buffer.getvalue())
producer.flush()
deadline = time.time() + 30
while time.time() < deadline:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    value = message.value()
    if value[:10] == b"\\xc3\\x01" + fingerprint("PredictResult"):
        result = fastavro.schemaless_reader(io.BytesIO(value[10:]), result_schema)
        if result["id"] == "avro":
            print(json.dumps({"version": result["version"], "y": struct.unpack("<f", result["outputs"][0]["data"])[0]}))
            break
consumer.close()
assert not [name for name in sys.modules if name.split(".")[0] in ("pipeline", "connectors", "schemas")]
"""


def run(program: str, folder: Path, *arguments: str) -> dict[str, object]:
    path = folder / "client.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, "-I", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_clients_with_kafka_and_json_or_the_schema_files_alone_are_served(deploy: Deploy, tmp_path: Path) -> None:
    it = deploy()
    it.drop("factor", 5, {"factor": b"2"})
    it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    answer = run(JSON_CLIENT, elsewhere, it.bootstrap, route.request_topic, route.result_topic)
    assert answer["id"] == "abc"
    assert (answer["model_name"], answer["model_version"]) == ("factor", "5")
    assert answer["outputs"] == [{"name": "y", "shape": [2, 1], "datatype": "FP32", "data": [2.0, 4.0]}]
    folder = str(files("schemas"))
    assert run(AVRO_CLIENT, elsewhere, it.bootstrap, route.request_topic, route.result_topic, folder) == {
        "version": 5,
        "y": 42.0,
    }
