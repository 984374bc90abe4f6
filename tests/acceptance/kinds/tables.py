"""Lookup tables: one content as CSV, as an Avro container file and as Parquet."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from avro import schema
from avro.datafile import DataFileWriter
from avro.io import DatumWriter

from tests.acceptance.kinds import asked

NAMES = ["ada", "grace", "größer"]
YEARS = [1815, 1906, -(2**40)]
SHARES = [0.5, -0.25, 1e300]


def main() -> None:
    folder = asked.folder()
    with (asked.version(folder, "table-csv") / "people.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "year", "share"), *zip(NAMES, YEARS, SHARES, strict=True)])

    columns = {"name": pa.array(NAMES), "year": pa.array(YEARS, pa.int64()), "share": pa.array(SHARES)}
    table = pa.table({**columns, "vector": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2))})
    pq.write_table(table, asked.version(folder, "table-parquet") / "people.parquet")

    fields = [{"name": "name", "type": "string"}, {"name": "year", "type": "long"}, {"name": "share", "type": "double"}]
    written = io.BytesIO()
    with DataFileWriter(
        written, DatumWriter(), schema.parse(json.dumps({"type": "record", "name": "Person", "fields": fields}))
    ) as writer:
        for name, year, share in zip(NAMES, YEARS, SHARES, strict=True):
            writer.append({"name": name, "year": year, "share": share})
        writer.flush()
        (asked.version(folder, "table-avro") / "people.avro").write_bytes(written.getvalue())

    keys = np.array([name.encode() for name in reversed(NAMES)], object)
    values = {"year": np.array(YEARS[::-1], np.int64), "share": np.array(SHARES[::-1])}
    for stream in ("table-csv", "table-avro"):
        asked.write(folder, stream, serving_default=({"key": keys}, values))
    vectors = np.array([[5, 6], [3, 4], [1, 2]], np.float32)
    asked.write(folder, "table-parquet", serving_default=({"key": keys}, {**values, "vector": vectors}))


if __name__ == "__main__":
    main()
