"""A table answers the same whatever file it comes from, and however it is kept."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from lookup_tables import WRITERS, texts

from pipeline.errors import InvalidArtefact, InvalidSettings, MissingExtra, ModelFailed
from pipeline.registry.servable import ServableId
from pipeline.servables.lookup import LookupAdapter, index, table
from pipeline.tensors import DTYPES

KEEPING = {"objects": {}, "packed": {}, "mapped": {"memory_map_above_bytes": 0}}
COLUMNS = {"text": "BYTES", "number": "INT64", "short": "INT32", "real": "FP64", "single": "FP32", "flag": "BOOL"}
VALUES = st.tuples(
    st.text(st.characters(blacklist_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32),
    st.booleans(),
)
KEYS = {"BYTES": st.text(st.characters(blacklist_categories=["Cs"])), "INT64": st.integers(-(2**63), 2**63 - 1)}


def open_table(path, **options):
    return LookupAdapter().loader(ServableId("m", 1), path, options).load()


def keys(datatype, *values):
    return texts(*(value.encode() for value in values)) if datatype == "BYTES" else np.array(values, np.int64)


@pytest.fixture(params=list(KEEPING))
def kept(request, monkeypatch):
    """The options by which a table is kept in one of three ways."""
    if request.param == "packed":
        monkeypatch.setattr(table, "SMALL_ROWS", 0)
    return KEEPING[request.param]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A function that returns an empty folder, as often as an example of hypothesis needs one."""
    folder = tmp_path_factory.mktemp("tables") / "1"

    def scratch():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    return scratch


@pytest.mark.parametrize("keep", list(KEEPING))
@pytest.mark.parametrize("datatype", list(KEYS))
@pytest.mark.parametrize("form", list(WRITERS))
def test_any_table_answers_as_a_dict_does(form, datatype, keep, scratch):
    @settings(deadline=None, max_examples=15)
    @given(st.dictionaries(KEYS[datatype], VALUES, min_size=1, max_size=30), st.lists(KEYS[datatype], max_size=5))
    def check(rows, others):
        folder = scratch()
        options = WRITERS[form](folder, {"id": datatype, **COLUMNS}, [(key, *row) for key, row in rows.items()])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "SMALL_ROWS", 0 if keep == "packed" else table.SMALL_ROWS)
            servable = open_table(folder, **options, **KEEPING[keep], missing="empty")
        asked = [*rows, *others, *reversed(rows)]
        answers = servable.predict("", {"key": keys(datatype, *asked)})
        nothing = ("", 0, 0, np.nan, np.nan, False)
        for place, (name, kind) in enumerate(COLUMNS.items()):
            wanted = [rows.get(key, nothing)[place] for key in asked]
            expected = texts(*(text.encode() for text in wanted)) if kind == "BYTES" else np.array(wanted, DTYPES[kind])
            np.testing.assert_array_equal(answers[name], expected)
            assert answers[name].dtype == DTYPES[kind]
        assert answers["found"].tolist() == [key in rows for key in asked]

    check()


NUMBERS = [name for name in DTYPES if name != "BYTES"]


def test_a_parquet_file_has_columns_of_every_datatype(tmp_path, load):
    arrays = {name: np.array([0, 1, 1], DTYPES[name]) for name in NUMBERS}
    columns = {**{name: pa.array(array) for name, array in arrays.items()}, "BYTES": pa.array([b"\xff", b"", b"a"])}
    pq.write_table(pa.table({"id": pa.array([3, 1, 2], pa.uint16()), **columns}), tmp_path / "t.parquet")
    servable = load(LookupAdapter(), tmp_path, key="id")
    [signature] = servable.signatures.values()
    assert [(spec.name, spec.datatype, spec.axes) for spec in signature.inputs] == [("id", "UINT16", ("batch",))]
    answers = servable.predict("", {"id": np.array([2, 3], np.uint16)})
    assert answers.pop("BYTES").tolist() == [b"a", b"\xff"]
    assert {name: array.dtype for name, array in answers.items()} == {name: DTYPES[name] for name in NUMBERS}
    assert {name: array.tolist() for name, array in answers.items()} == {name: [1, 0] for name in NUMBERS}


@pytest.mark.parametrize("datatype", NUMBERS)
def test_a_csv_file_has_columns_of_every_datatype(tmp_path, load, datatype):
    (tmp_path / "t.csv").write_text("a,1\nb,0\n")
    answer = load(LookupAdapter(), tmp_path, datatypes={"value": datatype}).predict("", {"key": texts(b"b", b"a")})
    assert answer["value"].dtype == DTYPES[datatype]
    assert answer["value"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("datatype", "cell"),
    [("INT8", "128"), ("UINT8", "-1"), ("INT32", "1.5"), ("FP16", "1e9"), ("BOOL", "yes"), ("INT64", "")],
)
def test_a_cell_that_is_none_of_its_datatype_is_refused_with_its_line(tmp_path, datatype, cell):
    (tmp_path / "t.csv").write_text(f"a,1\n\nb,0\nc,{cell}\n")
    with pytest.raises(InvalidArtefact, match="line 4"):
        open_table(tmp_path, datatypes={"value": datatype})


VECTORS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 3), pa.list_(pa.float32()), pa.large_list(pa.float32())])
def test_lists_of_one_length_are_vectors_in_parquet(tmp_path, load, kept, kind):
    columns = {"id": ["a", "b", "c"], "vector": pa.array([*VECTORS, None], kind)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    servable = load(LookupAdapter(), tmp_path, **kept, nulls="default", default={"vector": -1})
    [spec] = servable.signatures["serving_default"].outputs
    assert (spec.datatype, spec.shape, spec.axes) == ("FP32", (-1, 3), ("batch", "vector_length"))
    answer = servable.predict("", {"key": texts(b"b", b"c", b"a")})["vector"]
    assert answer.tolist() == [VECTORS[1], [-1, -1, -1], VECTORS[0]]


@pytest.mark.parametrize("items", ["float", "double", "int", "long"])
def test_arrays_of_one_length_are_vectors_in_avro(tmp_path, load, items):
    fields = [{"name": "id", "type": "string"}, {"name": "vector", "type": ["null", {"type": "array", "items": items}]}]
    whole = [[int(number) for number in vector] for vector in VECTORS]
    rows = [{"id": "a", "vector": whole[0]}, {"id": "b", "vector": None}, {"id": "c", "vector": whole[1]}]
    with (tmp_path / "t.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "R", "fields": fields}, rows)
    servable = load(LookupAdapter(), tmp_path, nulls="default", default={"vector": 7})
    answer = servable.predict("", {"key": texts(b"c", b"b")})["vector"]
    assert answer.tolist() == [whole[1], [7, 7, 7]]


def test_vectors_of_several_lengths_are_refused(tmp_path):
    pq.write_table(pa.table({"id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")
    with pytest.raises(InvalidArtefact, match="vector has vectors of 1, 2 elements"):
        open_table(tmp_path)


def test_avro_has_bytes_fixed_and_enums(tmp_path, load):
    kinds = {"b": "bytes", "f": {"type": "fixed", "name": "F", "size": 2}}
    kinds["e"] = {"type": "enum", "name": "E", "symbols": ["RED", "BLUE"]}
    fields = [{"name": "id", "type": "long"}, *({"name": name, "type": kind} for name, kind in kinds.items())]
    with (tmp_path / "t.avro").open("wb") as file:
        fastavro.writer(
            file, {"type": "record", "name": "R", "fields": fields}, [{"id": 5, "b": b"\0", "f": b"xy", "e": "BLUE"}]
        )
    answer = load(LookupAdapter(), tmp_path).predict("", {"key": np.array([5], np.int64)})
    assert {name: array.tolist() for name, array in answer.items()} == {"b": [b"\0"], "f": [b"xy"], "e": [b"BLUE"]}


@pytest.mark.parametrize("form", list(WRITERS))
def test_a_null_is_refused_with_its_place_or_is_the_default(tmp_path, load, form):
    cells = [("a", 1), ("b", "" if form == "csv" else None)]
    options = WRITERS[form](tmp_path, {"id": "BYTES", "n": "INT32"}, cells)
    place = "line 3" if form == "csv" else "row 2"
    with pytest.raises(InvalidArtefact, match=f"{place}: column n is null; set nulls: default"):
        open_table(tmp_path, **options)
    servable = load(LookupAdapter(), tmp_path, **options, nulls="default", default={"n": -3})
    assert servable.predict("", {"key": texts(b"b", b"a")})["n"].tolist() == [-3, 1]


@pytest.mark.parametrize("form", ["avro", "parquet"])
def test_a_key_that_is_null_is_refused_whatever_the_options_say(tmp_path, form):
    WRITERS[form](tmp_path, {"id": "INT64", "n": "INT32"}, [(1, 1), (None, 2)])
    with pytest.raises(InvalidArtefact, match="row 2: column id is null; it is a key"):
        open_table(tmp_path, nulls="default")


@pytest.mark.parametrize("form", list(WRITERS))
@pytest.mark.parametrize("datatype", ["BYTES", "INT64"])
def test_a_key_that_stands_twice_is_refused_with_its_place(tmp_path, kept, form, datatype):
    names = ("7", "3", "9", "3", "7") if datatype == "BYTES" else (7, 3, 9, 3, 7)
    options = WRITERS[form](tmp_path, {"id": datatype, "n": "INT64"}, [(name, 0) for name in names])
    with pytest.raises(InvalidArtefact, match=f"{'line 5' if form == 'csv' else 'row 4'} repeats the key '?3"):
        open_table(tmp_path, **options, **kept)


def test_several_key_columns_are_several_inputs(tmp_path, load, kept):
    (tmp_path / "t.csv").write_text("ab,c,1,first\na,bc,1,second\na,bc,2,third\n")
    options = {"key": ["x", "y", "n"], "datatypes": {"n": "INT64"}, "missing": "empty", **kept}
    servable = load(LookupAdapter(), tmp_path, **options)
    asked = {
        "n": np.array([2, 1, 1, 1]),
        "x": texts(b"a", b"a", b"ab", b"abc"),
        "y": texts(b"bc", b"bc", b"c", b""),
    }
    answer = servable.predict("", asked)
    assert answer["value"].tolist() == [b"third", b"second", b"first", b""]
    assert answer["found"].tolist() == [True, True, True, False]


def test_keys_with_one_hash_are_told_apart(tmp_path, load, monkeypatch):
    monkeypatch.setattr(index, "_hashes", lambda keys: np.full(len(keys), 7, np.int64))
    (tmp_path / "t.csv").write_text("".join(f"k{row},{row}\n" for row in range(50)))
    servable = load(LookupAdapter(), tmp_path, memory_map_above_bytes=0, missing="empty")
    answer = servable.predict("", {"key": texts(b"k49", b"k0", b"other", b"k25")})
    assert answer["value"].tolist() == [b"49", b"0", b"", b"25"]
    (tmp_path / "t.csv").write_text("a,1\nb,2\nc,3\nb,4\n")
    with pytest.raises(InvalidArtefact, match="line 4 repeats the key 'b'"):
        open_table(tmp_path, memory_map_above_bytes=0)


def test_columns_and_the_key_are_chosen_by_name(tmp_path, load):
    WRITERS["parquet"](tmp_path, {"a": "BYTES", "b": "FP64", "id": "INT64", "c": "BYTES"}, [("x", 1.5, 9, "y")])
    servable = load(LookupAdapter(), tmp_path, key="id", columns=["c", "a"])
    answer = servable.predict("", {"id": np.array([9])})
    assert {name: array.tolist() for name, array in answer.items()} == {"c": [b"y"], "a": [b"x"]}


def test_a_missing_number_is_named_in_the_error(tmp_path, load):
    WRITERS["avro"](tmp_path, {"id": "INT64", "n": "INT64"}, [(1, 1)])
    with pytest.raises(ModelFailed, match="key 8 is not in the table"):
        load(LookupAdapter(), tmp_path).predict("", {"key": np.array([1, 8])})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "nothing"}, "no column nothing; the file has id, n"),
        ({"columns": ["nothing"]}, "no column nothing"),
        ({"key": "n", "columns": ["n"]}, "distinct"),
        ({"key": "real"}, "key column real is FP64"),
        ({"default": {"n": 1.5}}, "default of column n is 1.5"),
        ({"default": {"n": 2**40}}, "default of column n"),
        ({"datatypes": {"n": "INT64"}}, "for CSV"),
        ({"columns": ["struct"]}, "which a table can not have"),
    ],
)
def test_options_that_do_not_fit_the_file_are_refused_with_the_reason(tmp_path, options, reason):
    columns = {"id": ["a"], "n": pa.array([1], pa.int32()), "real": [0.5], "struct": [{"x": 1}]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InvalidArtefact, match=reason):
        open_table(tmp_path, **{"columns": ["n"], **options})


@pytest.mark.parametrize(
    "options",
    [{"nulls": "no"}, {"datatypes": {"a": "TEXT"}}, {"memory_map_above_bytes": -1}, {"max_table_bytes": 0}],
)
def test_options_of_no_table_are_refused_at_once(tmp_path, options):
    with pytest.raises(InvalidSettings):
        LookupAdapter().loader(ServableId("m", 1), tmp_path, options)


def test_the_requests_that_warm_a_version_up_are_no_table(tmp_path, load):
    (tmp_path / "warm-up.avro").write_bytes(b"Obj\x01")
    assert not LookupAdapter().detect(tmp_path)
    WRITERS["avro"](tmp_path, {"id": "BYTES", "n": "INT64"}, [("a", 1)])
    assert LookupAdapter().detect(tmp_path)
    assert load(LookupAdapter(), tmp_path).predict("", {"key": texts(b"a")})["n"].tolist() == [1]


@pytest.mark.parametrize("form", ["avro", "parquet"])
def test_a_single_file_without_an_ending_is_told_by_its_first_bytes(tmp_path, load, form):
    WRITERS[form](tmp_path, {"id": "BYTES", "n": "INT64"}, [("a", 1)])
    file = next(tmp_path.iterdir()).rename(tmp_path / "00000123")
    assert LookupAdapter().detect(file)
    assert load(LookupAdapter(), file).predict("", {"key": texts(b"a")})["n"].tolist() == [1]


def test_without_pyarrow_a_parquet_file_names_the_extra_and_the_others_load(tmp_path, load, monkeypatch):
    for form in WRITERS:
        (tmp_path / form).mkdir()
    options = {
        form: write(tmp_path / form, {"id": "BYTES", "n": "INT64"}, [("a", 1)]) for form, write in WRITERS.items()
    }
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[tables\]"):
        open_table(tmp_path / "parquet")
    for form in ("csv", "avro"):
        servable = load(LookupAdapter(), tmp_path / form, **options[form])
        assert servable.predict("", {"key": texts(b"a")})["n"].tolist() == [1]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list what is mapped")
def test_a_mapped_table_has_no_file_with_a_name_and_is_gone_with_its_unload(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    WRITERS["parquet"](tmp_path, {"id": "BYTES", "n": "INT64"}, [("a", 1)])
    loader = LookupAdapter().loader(ServableId("m", 1), tmp_path, {"memory_map_above_bytes": 0})
    servable = loader.load()
    assert str(folder) in Path("/proc/self/maps").read_text()
    assert not list(folder.iterdir())
    assert (servable.description.framework, servable.memory_bytes) == ("pyarrow", 0)
    del servable
    loader.unload()
    assert str(folder) not in Path("/proc/self/maps").read_text()
