"""What a hostile table costs: an error, and little else."""

from __future__ import annotations

import gc
import io
import zlib
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lookup_tables import WRITERS

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import ServableId
from pipeline.servables.lookup import LookupAdapter, parquet_reader
from pipeline.servables.lookup.parquet_pages import BadPages, Chunk, largest_dictionary

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, {"name": "t", "type": "string"}]}


def refused(path: Path, reason: str, **options: object) -> None:
    with pytest.raises(InvalidArtefact, match=reason):
        LookupAdapter().loader(ServableId("m", 1), path, options).load()


@pytest.mark.parametrize("form", list(WRITERS))
@pytest.mark.parametrize("map_above", [0, 1 << 30])
def test_a_table_larger_than_allowed_is_refused_while_it_is_read(tmp_path, form, map_above):
    options = WRITERS[form](tmp_path, {"id": "BYTES", "t": "BYTES"}, [(f"k{row}", "x" * 1000) for row in range(200)])
    refused(tmp_path, "raise max_table_bytes", **options, max_table_bytes=100_000, memory_map_above_bytes=map_above)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'a,"x', "unexpected end of data"),
        (b'a,"x"y\n', "expected after"),
        (b"a," + b"x" * 200_000, "field larger than field limit"),
        ("a,é\n".encode("utf-16"), "UTF-8"),
        ("a,é\n".encode("latin-1"), "UTF-8"),
        (b"a," * (1 << 23) + b"\n", "a line has 16777216 characters or more"),
    ],
)
def test_a_csv_file_that_is_none_is_refused(tmp_path, content, reason):
    (tmp_path / "t.csv").write_bytes(content)
    refused(tmp_path, reason)


def avro_of(block: bytes, rows: int, *, length: int | None = None) -> bytes:
    """Return a file with one deflated block, which says of itself what it is told to."""
    empty = io.BytesIO()
    fastavro.writer(empty, SCHEMA, [], codec="deflate", sync_marker=b"s" * 16)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(block) + packer.flush()
    counts = b"".join(map(long, (rows, len(packed) if length is None else length)))
    return empty.getvalue() + counts + packed + b"s" * 16


def long(number: int) -> bytes:
    number, encoded = number << 1 if number >= 0 else ~(number << 1), b""
    while number > 127:
        number, encoded = number >> 7, encoded + bytes([number & 127 | 128])
    return encoded + bytes([number])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (avro_of(bytes(100 << 20), 1), "decompresses to more than"),
        (avro_of(b"\2a\2b", 1 << 40), "a block of 1099511627776 rows has 4 bytes"),
        (avro_of(b"\2a\2b", -1), "a block of -1 rows"),
        (avro_of(b"\2a\2b", 1, length=1 << 40), "a block of 1 rows and 1099511627776 bytes"),
        (avro_of(b"\2a" + long(1 << 50), 1), "its rows take"),
        (avro_of(b"\2a\1", 1), "a text of -1 bytes"),
        (avro_of(b"\xff" * 20, 1), "more than 64 bits"),
        (avro_of(b"\2a\2b", 1) + b"\2", "IndexError"),
        (b"Obj\x01" + long(1 << 40), "not an Avro file of rows"),
        (b"Obj\x01\x01", "not an Avro file of rows"),
    ],
)
def test_an_avro_file_that_promises_too_much_is_refused(tmp_path, content, reason):
    (tmp_path / "t.avro").write_bytes(content)
    refused(tmp_path, reason)


@pytest.mark.parametrize("schema", [b"[" * 100_000, b'"long"', b'{"type": "record", "name": "R", "fields": []}', b"{"])
def test_an_avro_file_whose_schema_is_no_table_is_refused(tmp_path, schema):
    pair = long(11) + b"avro.schema" + long(len(schema)) + schema
    (tmp_path / "t.avro").write_bytes(b"Obj\x01" + long(1) + pair + long(0) + b"s" * 16)
    refused(tmp_path, "not an Avro file of rows|columns are none|no rows")


def test_a_field_that_no_column_can_have_is_named(tmp_path):
    fields = [*SCHEMA["fields"], {"name": "deep", "type": {"type": "map", "values": "long"}}]
    with (tmp_path / "t.avro").open("wb") as file:
        fastavro.writer(file, {**SCHEMA, "fields": fields}, [])
    refused(tmp_path, "field deep is")


def test_one_long_text_repeated_by_a_dictionary_is_not_unpacked_at_once(tmp_path, monkeypatch):
    """2 KB of Parquet would become 1.3 GB of texts; the pool that holds them tells how much there was at most."""
    monkeypatch.setattr(parquet_reader, "_MOST_BYTES", 8 << 20)
    rows = 65536
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "i4")), pa.array(["x" * 20_000]))
    pq.write_table(pa.table({"id": np.arange(rows), "t": repeated}), tmp_path / "t.parquet", store_schema=False)
    gc.collect()
    refused(tmp_path, "raise max_table_bytes", max_table_bytes=32 << 20)
    assert pa.default_memory_pool().max_memory() < 256 << 20


def test_a_footer_that_lies_about_its_chunks_is_refused(tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "n": [1, 2]}), file)
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(0)
    honest = Chunk("id", chunk.dictionary_page_offset, chunk.total_compressed_size, 2)
    assert largest_dictionary(file, [honest]) == 10
    for lie in (honest._replace(values=3), honest._replace(size_bytes=7), honest._replace(begin=9)):
        with pytest.raises(BadPages):
            largest_dictionary(file, [lie])


def test_loading_again_and_again_keeps_nothing(tmp_path):
    """After thirty loads and unloads the process is as large as after the fifth."""
    options = WRITERS["parquet"](
        tmp_path, {"id": "BYTES", "t": "BYTES", "n": "INT64"}, [(f"k{row}", f"text {row}", row) for row in range(5_000)]
    )
    sizes = {}
    for number in range(30):
        loader = LookupAdapter().loader(ServableId("m", 1), tmp_path, options)
        loader.load()
        loader.unload()
        if number in (4, 29):  # a collection takes a third of a second where tests have imported frameworks
            gc.collect()
            sizes[number] = int(Path("/proc/self/statm").read_text().split()[1])
    assert sizes[29] < 1.05 * sizes[4]
