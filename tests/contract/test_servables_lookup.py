"""Lookup tables keep the contract of servables, whatever file they come from and however they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.registry.servable import Signature
from pipeline.tensors import Array
from pipeline.testing.servable_contract import ServableContract

ROWS = 40
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Colour",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "colour", "type": ["null", "string"]},
        {"name": "size", "type": "double"},
        {"name": "vector", "type": {"type": "array", "items": "float"}},
    ],
}


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    return [
        {"name": f"n{row}", "colour": f"colour {row % 7}", "size": row / 2, "vector": [row, -row, 0.5]}
        for row in range(count)
    ]


class TestLookup(ServableContract):
    entry_point = "pipeline.servables.lookup:LookupAdapter"
    options: ClassVar = {"header": True, "datatypes": {"size": "FP64"}}
    wrong_options: ClassVar = {"missing": "sometimes"}
    frameworks = (*ServableContract.frameworks, "pyarrow")
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        lines = [f"{row['name']},{row['colour']},{row['size']}\n" for row in rows()]
        (path / "table.csv").write_text("name,colour,size\n" + "".join(lines))

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "table.csv").write_text("name,colour,size\na,red,1\nb,blue\n")

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"key": np.array([b"n%d" % (row % ROWS) for row in range(rows)], object)}


class TestLookupOfOneFile(TestLookup):
    options: ClassVar = {"missing": "empty"}
    damaged_versions = 30

    def write_version(self, path: Path) -> None:
        path.write_text("n0,red\nn1,blue\n")

    def write_broken_version(self, path: Path) -> None:
        path.write_bytes(b"a,\xff\n")


class TestLookupMapped(TestLookup):
    options: ClassVar = {**TestLookup.options, "memory_map_above_bytes": 0}
    damaged_versions = 30


class TestLookupAvro(TestLookup):
    options: ClassVar = {"missing": "empty", "memory_map_above_bytes": 0}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "warm-up.avro").write_bytes(b"no table")
        with (path / "table.avro").open("wb") as file:
            fastavro.writer(file, SCHEMA, rows(), codec="deflate", sync_interval=500)

    def write_broken_version(self, path: Path) -> None:
        self.write_version(path)
        table = path / "table.avro"
        table.write_bytes(table.read_bytes()[:-1])


class TestLookupParquet(TestLookup):
    options: ClassVar = {"key": "id"}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        table = pa.Table.from_pylist(rows()).append_column("id", pa.array(range(ROWS), pa.int64()))
        pq.write_table(table, path / "table.parquet", row_group_size=15)

    def write_broken_version(self, path: Path) -> None:
        self.write_version(path)
        table = path / "table.parquet"
        table.write_bytes(table.read_bytes()[:-1])

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"id": np.arange(rows, dtype=np.int64) % ROWS}


class TestLookupParquetMapped(TestLookupParquet):
    options: ClassVar = {"key": ["name", "id"], "memory_map_above_bytes": 0}
    damaged_versions = 30

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        numbers = np.arange(rows, dtype=np.int64) % ROWS
        return {"id": numbers, "name": np.array([b"n%d" % number for number in numbers], object)}
