"""What stands on the command line, as tensors."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest

from pipeline.commands.predict_input import parse_datatypes, read, tensors

if TYPE_CHECKING:
    from pathlib import Path


def test_numbers_of_json_are_fp32_whether_whole_or_not() -> None:
    found: Any = tensors(b'{"x": [[1, 2]], "y": [0.5]}', {})
    assert {name: (array.dtype, array.tolist()) for name, array in found.items()} == {
        "x": (np.float32, [[1.0, 2.0]]),
        "y": (np.float32, [0.5]),
    }


def test_a_bare_list_is_one_tensor_without_a_name() -> None:
    found: Any = tensors(b"[[1, 2], [3, 4]]", {})
    assert (found.dtype, found.shape) == (np.float32, (2, 2))


def test_text_and_truth_values_keep_their_kind() -> None:
    found: Any = tensors('{"key": ["a", "ü"], "on": [true], "one": "a"}'.encode(), {})
    assert [found["key"].dtype.kind, found["on"].dtype.kind, found["one"].shape] == ["U", "b", (1,)]


def test_a_datatype_is_for_one_tensor_or_for_all() -> None:
    chosen = parse_datatypes(("ids=int64", "FP16"))
    found: Any = tensors(b'{"ids": [7], "x": [1]}', chosen)
    assert [found["ids"].dtype, found["x"].dtype] == [np.int64, np.float16]


@pytest.mark.parametrize(
    ("content", "datatypes", "reason"),
    [
        (b"{not json", (), "neither JSON nor a file"),
        (b'{"x": [[1], [2, 3]]}', (), "tensor 'x'"),
        (b'{"x": [null]}', (), "neither numbers, text"),
        (b'{"x": [1.5]}', ("INT64",), "INT64"),
        (b'{"x": [300]}', ("UINT8",), "UINT8"),
        (b'{"x": [1]}', ("y=INT64",), "no tensor y"),
        (b'{"x": [1]}', ("x=LONG",), "not one of"),
        (b"\x93NUMPY broken", (), "NumPy"),
    ],
)
def test_what_is_no_tensor_is_a_usage_error_that_says_why(
    content: bytes, datatypes: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(click.UsageError, match=reason):
        tensors(content, parse_datatypes(datatypes))


@pytest.mark.parametrize(
    "whole",
    [
        {"instances": [1, 2]},
        {"inputs": {"x": [1]}},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]},
    ],
)
def test_a_whole_request_is_passed_on_as_it_is(whole: dict[str, Any]) -> None:
    text = json.dumps(whole)
    assert tensors(text.encode(), {}) == text


def test_a_tensor_of_the_name_inputs_is_a_tensor() -> None:
    found: Any = tensors(b'{"inputs": [[1, 2]]}', {})
    assert found["inputs"].shape == (1, 2)


def test_numpy_files_keep_names_and_dtypes(tmp_path: Path) -> None:
    one, many = tmp_path / "a.npy", tmp_path / "b.npz"
    np.save(one, np.arange(3, dtype=np.int16))
    np.savez(many, x=np.zeros((2, 2), np.uint8))
    single: Any = tensors(read(f"@{one}"), {})
    several: Any = tensors(read(str(many)), {})
    assert (single.dtype, several["x"].dtype) == (np.int16, np.uint8)


def test_a_pickle_in_a_numpy_file_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(click.UsageError, match="NumPy"):
        tensors(buffer.getvalue(), {})


def test_a_file_that_is_named_and_missing_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="can not be read"):
        read(f"@{tmp_path / 'none.json'}")


def test_json_that_is_longer_than_a_path_may_be_is_json() -> None:
    text = json.dumps(list(range(10_000)))
    assert read(text) == text.encode()
