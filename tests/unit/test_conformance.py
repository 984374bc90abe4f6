"""The page that holds TensorFlow Serving's tests against ours is complete, and what it names is there."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pages import names_in

ROOT = Path(__file__).parents[2]
NO = "does not apply: "

# How many tests each of their suites has.
SUITES = {
    "AspiredVersionsManagerTest": 30,
    "AspiredVersionsManagerBuilderTest": 3,
    "BasicManagerTest and its relatives": 56,
    "AvailabilityPreservingPolicyTest": 9,
    "ResourcePreservingPolicyTest": 7,
    "AspiredVersionPolicyTest": 2,
    "LoaderHarnessTest": 21,
    "CachingManagerTest": 17,
    "PathPrefixLoaderFactoryTest": 2,
    "ServableStateMonitorTest": 15,
    "SourceAdapterTest": 2,
    "UnarySourceAdapterTest": 1,
    "ErrorInjectingSourceAdapterTest": 1,
    "SourceRouterTest": 5,
    "DynamicSourceRouterTest": 4,
    "StaticSourceRouterTest": 1,
    "SimpleLoaderTest and its relatives": 11,
    "PrefixStoragePathSourceAdapterTest": 1,
    "StoragePathTest": 1,
    "HashmapSourceAdapter": 1,
    "ManagerTest": 6,
    "ServableHandleTest": 2,
    "ServableRequestTest": 3,
    "StaticManagerTest": 7,
    "ServableDataTest": 3,
    "ServableIdTest": 3,
    "FastReadDynamicPtrTest": 3,
    "ObserverTest": 6,
    "EventBusTest": 3,
    "RetrierTest": 4,
    "ResourceTrackerTest": 8,
    "FileSystemStoragePathSourceTest": 19,
    "StaticStoragePathSourceTest": 1,
    "Ours to add": 12,
}
# Of these the page has one row each, with the size in its name.
WHOLE = {
    "ResourceUtilTest (36)",
    "ServerCoreTest (31)",
    "GetModelStatusImplTest (6)",
    "RequestLoggerTest and its relatives (9 + 16)",
    "End-to-end server test (30)",
}


@dataclass(frozen=True)
class Row:
    suite: str
    theirs: str
    behaviour: str
    ours: str


def rows() -> list[Row]:
    found = []
    suite = ""
    for line in (ROOT / "docs" / "conformance.md").read_text().splitlines():
        if line.startswith("### "):
            suite = line.removeprefix("### ")
        elif line.startswith("| `"):
            theirs, behaviour, ours = (cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(suite, theirs.strip("`"), behaviour, ours))
    return found


def test_every_suite_has_all_of_its_rows() -> None:
    counted = Counter(row.suite for row in rows())
    del counted["Whole suites (one row each)"]
    assert counted == {f"{suite} ({count})": count for suite, count in SUITES.items()}


def test_no_row_stands_twice() -> None:
    twice = [row for row, count in Counter((row.suite, row.theirs) for row in rows()).items() if count > 1]
    assert not twice


def test_the_suites_of_which_only_the_size_is_listed_have_a_row() -> None:
    assert {row.theirs for row in rows() if row.suite.startswith("Whole")} == WHOLE


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.suite.split()[0]}-{row.theirs}")
def test_a_row_has_tests_that_exist_or_a_reason(row: Row) -> None:
    assert row.behaviour
    cells = row.ours.split("<br>")
    for cell in cells:
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", cell)
        if named is None:
            assert cell.startswith(NO), cell
            assert len(cell) > len(NO) + 10, cell
            assert len(cells) == 1, "a reason stands alone"
        else:
            path, name = named.groups()
            assert name in names_in(path), cell
