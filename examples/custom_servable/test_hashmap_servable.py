"""The hashmap keeps the contract of every servable, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hashmap_servable import FILE, HashmapOptions, read_hashmap

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import ServableId, Signature
from pipeline.tensors import Array
from pipeline.testing.servable_contract import ServableContract


class TestHashmap(ServableContract):
    """What all kinds promise."""

    entry_point = "hashmap_servable:adapter"

    def write_version(self, path: Path) -> None:
        """Two lines."""
        path.mkdir()
        (path / FILE).write_text("a,1\nb,2\n")

    def write_broken_version(self, path: Path) -> None:
        """A line with three columns."""
        path.mkdir()
        (path / FILE).write_text("a,1\nb,2,3\n")

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        """Keys that are there, in turns."""
        return {"key": np.array([b"ab"[row % 2 : row % 2 + 1] for row in range(rows)], object)}


def test_the_first_of_two_equal_keys_counts(tmp_path: Path) -> None:
    """As in TensorFlow Serving's hashmap."""
    (tmp_path / FILE).write_text("a;1\na;2\n")
    assert read_hashmap(ServableId("m", 1), tmp_path, HashmapOptions(";")) == {b"a": b"1"}


def test_a_line_that_is_no_pair_is_named(tmp_path: Path) -> None:
    """With its number and what it has."""
    (tmp_path / FILE).write_text("a,1\nb\n")
    with pytest.raises(InvalidArtefact, match="line 2 has 1 columns"):
        read_hashmap(ServableId("m", 1), tmp_path, HashmapOptions())
