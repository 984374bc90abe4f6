"""A table in a Parquet file, served over Kafka: text, integers and vectors by integer key, from a mapped file."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.client import InputQueue
from tests.acceptance.conftest import Deploy


def test_a_parquet_table_answers_over_kafka_what_pyarrow_reads_from_it(deploy: Deploy) -> None:
    vectors = np.random.default_rng(0).random((1000, 8), dtype=np.float32)
    columns = {"id": np.arange(1000), "name": [f"n{row}" for row in range(1000)], "vector": list(vectors)}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    options = {"key": "id", "missing": "empty", "memory_map_above_bytes": 0}
    it = deploy(
        servables={"table": {"base_path": "models/table", "kind": "lookup", "options": options}}, routes={"table": {}}
    )
    it.drop("table", 1, {"table.parquet": file.getvalue()})
    it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["table"]
    topics = {"request_topic": route.request_topic, "result_topic": route.result_topic}
    with InputQueue("table", bootstrap=it.bootstrap, **topics) as requests:
        answer = requests.predict({"id": np.array([7, 5000, 999])}, timeout=30)
    assert answer["found"].tolist() == [True, False, True]
    assert answer["name"].tolist() == [b"n7", b"", b"n999"]
    np.testing.assert_array_equal(answer["vector"][[0, 2]], vectors[[7, 999]])
