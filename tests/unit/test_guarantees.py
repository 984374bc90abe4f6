"""Each test that the pages of guarantees, of connectors and of Cluster Serving name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import names_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
CONNECTORS = (ROOT / "docs" / "connectors.md").read_text()
CLUSTER_SERVING = (ROOT / "docs" / "cluster-serving.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE + CLUSTER_SERVING)
NAMED_OF_CONNECTORS = re.findall(r"`((?:tests|pipeline)/[\w/]+\.py)(?:::(test_\w+))?`", CONNECTORS)


def rows_of(page: str, section: str, first: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its head, whose first cell is ``first``."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.partition(f"## {section}")[2].partition("\n## ")[0].splitlines()
        if line.startswith("| ") and not line.startswith(f"| {first}")
    ]


ROWS = rows_of(PAGE, "The table", "case") + rows_of(CLUSTER_SERVING, "Traps", "trap")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_holds_and_names_its_tests_or_says_that_there_is_none(row: list[str]) -> None:
    case, holds, tests = row[:3]
    assert case
    if not tests.startswith("no "):
        assert holds
        assert all(re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", cell) for cell in tests.split("<br>")), tests


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert name in names_in(path)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED_OF_CONNECTORS)))
def test_a_test_of_a_connector_that_is_named_exists(path: str, name: str) -> None:
    names = names_in(path)  # which reads it
    assert not name or name in names


def test_each_line_of_the_contract_is_on_the_page_of_connectors() -> None:
    suite = "pipeline/testing/connector_contract.py"
    promised = {name for name in names_in(suite) if name.startswith("test_")}
    told = {name for path, name in NAMED_OF_CONNECTORS if path == suite and name}
    assert promised - told <= {"test_an_empty_poll_returns_after_its_timeout"}


def test_the_tests_that_are_named_alone_are_named_in_the_table_too() -> None:
    alone = set(re.findall(r"`(test_\w+)`", PAGE))
    assert alone
    assert alone <= {name for _, name in NAMED}
