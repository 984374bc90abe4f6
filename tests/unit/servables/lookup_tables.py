"""Writes one table in each format that a lookup table can have."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AVRO = {"BYTES": "string", "INT32": "int", "INT64": "long", "FP32": "float", "FP64": "double", "BOOL": "boolean"}
ARROW = {
    "BYTES": pa.string(), "INT32": pa.int32(), "INT64": pa.int64(), "FP32": pa.float32(), "FP64": pa.float64(),
    "BOOL": pa.bool_(),
}  # fmt: skip


def write_csv(folder: Path, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Write a table and return the options that it needs, as the other two."""
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(rows)
    return {"header": True, "datatypes": dict(columns)}


def write_avro(folder: Path, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    fields = [{"name": name, "type": ["null", AVRO[datatype]]} for name, datatype in columns.items()]
    with (folder / "table.avro").open("wb") as file:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        fastavro.writer(file, {"type": "record", "name": "Row", "fields": fields}, records, codec="deflate")
    return {}


def write_parquet(folder: Path, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    by_column = zip(*rows, strict=True)
    arrays = [pa.array(cells, ARROW[datatype]) for cells, datatype in zip(by_column, columns.values(), strict=True)]
    pq.write_table(pa.table(arrays, names=list(columns)), folder / "table.parquet", row_group_size=7)
    return {}


WRITERS = {"csv": write_csv, "avro": write_avro, "parquet": write_parquet}


def texts(*values: bytes) -> np.ndarray[Any, Any]:
    """Return a BYTES tensor [rows]."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
