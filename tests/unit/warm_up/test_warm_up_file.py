"""``warm-up.avro`` comes back as it was written, by whatever Avro library; everything else is a clear error."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import avro.datafile
import avro.io
import avro.schema
import fastavro
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline import warm_up
from pipeline.codecs import schemas
from pipeline.errors import WarmUpFailed
from pipeline.records import WarmUp
from pipeline.tensors import DTYPES, Tensor, from_array
from pipeline.warm_up import file

X = np.ones((2, 2), np.float32)
ONE = warm_up.request({"x": X}, {"sum": np.array([2, 2], np.float32)}, description="two rows", atol=0.5)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    count = int(np.prod(shape))
    if datatype == "BYTES":
        array = np.empty(count, object)
        array[:] = [draw(st.binary(max_size=5)) for _ in range(count)]
    else:
        width = DTYPES[datatype].itemsize * count
        array = np.frombuffer(draw(st.binary(min_size=width, max_size=width)), DTYPES[datatype])
    return from_array(draw(st.text(max_size=5)), array.reshape(shape))


TOLERANCE = st.none() | st.floats(0, 1e9)
RECORDS = st.builds(
    WarmUp,
    description=st.text(max_size=9),
    signature=st.text(max_size=9),
    inputs=st.lists(tensors(), min_size=1, max_size=3).map(tuple),
    expected=st.none() | st.lists(tensors(), min_size=1, max_size=3, unique_by=lambda it: it.name).map(tuple),
    rtol=TOLERANCE,
    atol=TOLERANCE,
    iterations=st.integers(1, file.MAX_ITERATIONS),
    batch_sizes=st.lists(st.integers(1, file.MAX_ROWS), max_size=3).map(tuple),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RECORDS, max_size=4))
def test_what_is_written_is_read_again(tmp_path: Path, records: list[WarmUp]) -> None:
    warm_up.write(tmp_path, records)
    assert list(warm_up.read(tmp_path)) == records


def test_the_same_records_make_the_same_bytes_and_leave_no_other_file(tmp_path: Path) -> None:
    first = warm_up.write(tmp_path, [ONE, ONE]).read_bytes()
    assert warm_up.write(tmp_path, warm_up.read(tmp_path)).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["warm-up.avro"]


def test_a_directory_without_the_file_has_no_requests(tmp_path: Path) -> None:
    assert warm_up.read(tmp_path) == ()


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_another_library_writes_it_too_and_may_leave_out_what_has_a_default(tmp_path: Path, codec: str) -> None:
    schema = json.loads(schemas.text("WarmUp"))
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": X.tobytes()}
    with (tmp_path / "warm-up.avro").open("wb") as out:
        fastavro.writer(out, schema, [{"inputs": [tensor]}], codec=codec)
    assert warm_up.read(tmp_path) == (warm_up.request({"x": X}),)


def test_another_library_reads_it(tmp_path: Path) -> None:
    with warm_up.write(tmp_path, [ONE]).open("rb") as source:
        [record] = fastavro.reader(source)
    assert (record["description"], record["atol"], record["rtol"]) == ("two rows", 0.5, None)
    assert record["expected"] == [{"name": "sum", "datatype": "FP32", "shape": [2], "data": b"\0\0\0@" * 2}]


def test_an_older_schema_is_resolved(tmp_path: Path) -> None:
    schema = json.loads(schemas.text("WarmUp"))
    schema["fields"] = [field for field in schema["fields"] if field["name"] in ("inputs", "description")]
    container(tmp_path, schema, [{"inputs": [], "description": ""}])
    with pytest.raises(WarmUpFailed, match="no input tensors"):
        warm_up.read(tmp_path)


def container(folder: Path, schema: Any, data: list[Any]) -> None:
    parsed = avro.schema.parse(json.dumps(schema))
    buffer = io.BytesIO()
    writer = avro.datafile.DataFileWriter(buffer, avro.io.DatumWriter(parsed), parsed)
    for datum in data:
        writer.append(datum)
    writer.flush()
    (folder / "warm-up.avro").write_bytes(buffer.getvalue())


def test_a_file_of_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    other = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "long"}]}
    container(tmp_path, other, [{"a": 1}])
    with pytest.raises(WarmUpFailed, match=r"warm-up\.avro: not an Avro .* of WarmUp records"):
        warm_up.read(tmp_path)


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused(tmp_path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [9], "data": b""}
    base = {"description": "", "signature": "", "expected": None, "rtol": None, "atol": None, "iterations": 1}
    container(tmp_path, json.loads(schemas.text("WarmUp")), [{**base, "inputs": [tensor], "batch_sizes": []}])
    with pytest.raises(WarmUpFailed, match="needs 36 bytes, got 0"):
        warm_up.read(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_an_error_of_ours_or_goes_unnoticed_but_never_anything_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(warm_up.write(tmp_path, [ONE, ONE]).read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    (tmp_path / "warm-up.avro").write_bytes(content)
    try:
        warm_up.read(tmp_path)
    except WarmUpFailed:
        pass


@pytest.mark.parametrize("kept", [0, 3, 40, -40, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = warm_up.write(tmp_path, [ONE])
    path.write_bytes(path.read_bytes()[: kept or 0] if kept != -1 else path.read_bytes()[:-20])
    with pytest.raises(WarmUpFailed, match="not an Avro object container file"):
        warm_up.read(tmp_path)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "warm-up.avro")
    with pytest.raises(WarmUpFailed, match="not a regular file"):
        warm_up.read(tmp_path)


def test_a_link_that_leads_nowhere_is_refused_and_not_taken_for_no_requests(tmp_path: Path) -> None:
    (tmp_path / "warm-up.avro").symlink_to(tmp_path / "gone")
    with pytest.raises(WarmUpFailed, match="not a regular file"):
        warm_up.read(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "warm-up.avro").open("wb") as out:
        out.truncate(file.MAX_BYTES + 1)  # sparse
    with pytest.raises(WarmUpFailed, match=f"more than {file.MAX_BYTES} bytes"):
        warm_up.read(tmp_path)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path) -> None:
    record = {"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1 << 25], "data": bytes(1 << 25)}]}
    with (tmp_path / "warm-up.avro").open("wb") as out:
        fastavro.writer(out, json.loads(schemas.text("WarmUp")), [record] * 3, codec="deflate")
    assert (tmp_path / "warm-up.avro").stat().st_size < 1 << 20
    with pytest.raises(WarmUpFailed, match=f"more than {file.MAX_BYTES} bytes"):
        warm_up.read(tmp_path)


def test_a_thousand_records_are_the_limit_for_both_sides(tmp_path: Path) -> None:
    small = warm_up.request({"x": np.zeros(1, np.uint8)})
    warm_up.write(tmp_path, [small] * file.MAX_RECORDS)
    assert len(warm_up.read(tmp_path)) == 1000
    with pytest.raises(WarmUpFailed, match="1001 records"):
        warm_up.write(tmp_path, [small] * 1001)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1], "data": b"\0"}
    with (tmp_path / "warm-up.avro").open("wb") as out:
        fastavro.writer(out, json.loads(schemas.text("WarmUp")), [{"inputs": [tensor]}] * 1001)
    with pytest.raises(WarmUpFailed, match="more than 1000 records"):
        warm_up.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": ()}, "no input tensors"),
        ({"expected": ()}, "empty list"),
        ({"expected": ONE.inputs * 2}, "twice"),
        ({"rtol": -1.0}, "rtol is -1.0"),
        ({"atol": float("nan")}, "atol is nan"),
        ({"atol": float("inf")}, "atol is inf"),
        ({"iterations": 0}, "iterations is 0"),
        ({"iterations": 10**6}, "iterations is 1000000"),
        ({"batch_sizes": (4, 0)}, r"batch_sizes are \[4, 0\]"),
        ({"batch_sizes": (10**9,)}, "batch_sizes"),
    ],
)
def test_a_record_that_is_wrong_whatever_the_model_is_is_refused_by_its_place(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    bad = msgspec.structs.replace(ONE, **change)
    with pytest.raises(WarmUpFailed, match=reason) as refused:
        warm_up.write(tmp_path, [ONE, bad])
    assert (refused.value.record, refused.value.description) == (1, "two rows")
    assert dataclasses.fields(refused.value)
    (tmp_path / "warm-up.avro").write_bytes(file._encode([ONE, bad]))
    with pytest.raises(WarmUpFailed, match=reason):
        warm_up.read(tmp_path)


@pytest.mark.parametrize("array", [np.array([1 + 2j]), np.array([3], object), np.array([None], object)])
def test_an_array_that_no_request_can_carry_is_a_type_error(array: Any) -> None:
    with pytest.raises(TypeError):
        warm_up.request({"x": array})
