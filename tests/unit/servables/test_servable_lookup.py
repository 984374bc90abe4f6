"""What a lookup table answers, and what it refuses to be made of."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidArtefact, InvalidSettings, ModelFailed
from pipeline.registry.servable import ServableId
from pipeline.servables.lookup import LookupAdapter


def keys(*names):
    array = np.empty(len(names), object)
    array[:] = names
    return {"key": array}


@pytest.fixture
def table(tmp_path):
    def table(text, name="table.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path

    return table


def test_a_table_answers_each_key_with_its_value(table, load):
    servable = load(LookupAdapter(), table("a,apple\nb,\nc,é\n"))
    outputs = servable.predict("serving_default", keys(b"c", b"a", b"a", b"b"))
    assert list(outputs) == ["value"]
    assert outputs["value"].tolist() == ["é".encode(), b"apple", b"apple", b""]
    assert outputs["value"].dtype == object


def test_the_signature_is_batched_and_names_key_and_value(table, load):
    [signature] = load(LookupAdapter(), table("a,apple\n")).signatures.values()
    assert signature.batched
    assert [(s.name, s.datatype, s.shape) for s in (*signature.inputs, *signature.outputs)] == [
        ("key", "BYTES", (-1,)),
        ("value", "BYTES", (-1,)),
    ]


def test_a_single_file_is_a_table(tmp_path, load):
    file = tmp_path / "00000123"
    file.write_text("a,apple\n")
    assert LookupAdapter().detect(file)
    assert load(LookupAdapter(), file).predict("", keys(b"a"))["value"].tolist() == [b"apple"]


def test_columns_are_named_by_header_by_option_or_by_number(table, load):
    path = table("id,red,green\na,1,2\n")
    assert list(load(LookupAdapter(), path, header=True).predict("", keys(b"a"))) == ["red", "green"]
    assert list(load(LookupAdapter(), path).predict("", keys(b"a"))) == ["value_1", "value_2"]
    assert list(load(LookupAdapter(), path, columns=["r", "g"]).predict("", keys(b"a"))) == ["r", "g"]


def test_a_column_may_be_numbers(table, load):
    servable = load(
        LookupAdapter(), table("a;1.5\nb;-2\n"), delimiter=";", datatypes={"value": "FP64"}, missing="empty"
    )
    outputs = servable.predict("", keys(b"b", b"x"))
    np.testing.assert_array_equal(outputs["value"], [-2.0, np.nan])
    assert servable.signatures["serving_default"].outputs[0].datatype == "FP64"


def test_a_missing_key_is_an_error_that_names_it(table, load):
    with pytest.raises(ModelFailed, match="b'x' is not in the table"):
        load(LookupAdapter(), table("a,apple\n")).predict("", keys(b"a", b"x"))


def test_a_missing_key_may_be_the_default_and_not_found(table, load):
    servable = load(LookupAdapter(), table("a,apple\n"), missing="empty", default="?")
    outputs = servable.predict("", keys(b"x", b"a"))
    assert outputs["value"].tolist() == [b"?", b"apple"]
    assert outputs["found"].tolist() == [False, True]
    assert servable.signatures["serving_default"].outputs[1].datatype == "BOOL"


def test_a_call_without_rows_has_an_answer_without_rows(table, load):
    assert load(LookupAdapter(), table("a,apple\n")).predict("", keys())["value"].shape == (0,)


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"a,apple\nb\n", {}, "line 2 has 1 columns, expected 2"),
        (b"a,apple\na,other\n", {}, "line 2 repeats the key 'a'"),
        (b"", {}, "no rows"),
        (b"id,v\n", {"header": True}, "no rows"),
        (b"a\n", {}, "value columns are none"),
        (b"id,v,v\na,1,2\n", {"header": True}, "distinct"),
        (b"a,\xff\n", {}, "UTF-8"),
        (b'a,"x\n', {}, "not a CSV file"),
        (b"a,x\n", {"datatypes": {"value": "FP64"}}, "column value"),
        (b"a,x\n", {"datatypes": {"other": "FP64"}}, "other"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, content, options, reason):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InvalidArtefact, match=reason):
        LookupAdapter().loader(ServableId("m", 1), tmp_path, options).load()


def test_several_tables_are_none(table):
    table("a,b\n")
    path = table("a,b\n", "other.csv")
    assert not LookupAdapter().detect(path)
    with pytest.raises(InvalidArtefact, match=r"got other.csv, table.csv"):
        LookupAdapter().loader(ServableId("m", 1), path, {}).load()


@pytest.mark.parametrize("options", [{"missing": "maybe"}, {"delimiter": ""}, {"headers": True}, {"header": "yes"}])
def test_wrong_options_are_refused_before_anything_is_read(tmp_path, options):
    with pytest.raises(InvalidSettings, match="options of m"):
        LookupAdapter().loader(ServableId("m", 1), tmp_path / "not-there", options)
