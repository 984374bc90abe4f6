"""Every kind that comes with Penstock has a page, a row in the list of kinds, and passes the contract suite."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs/servables"


def entry_points() -> dict[str, str]:
    """What setup.cfg claims: kind to module:name. Not what is installed, which may be older, or somebody else's too."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["penstock.servables"].strip().splitlines()
    return {name.strip(): value.strip() for name, value in (line.split("=", 1) for line in lines if "=" in line)}


def under_contract() -> set[str]:
    """The entry points that a subclass of ServableContract in tests/contract names."""
    text = "\n".join(file.read_text() for file in (ROOT / "tests/contract").glob("test_servables*.py"))
    return set(re.findall(r"""entry_point(?:: [\w\[\]]+)? = ["']([\w.]+:\w+)["']""", text))


def test_the_kinds_of_setup_cfg_are_found() -> None:
    assert {"openvino", "lookup", "python", "pipeline", "image", "top-k"} <= set(entry_points())


@pytest.mark.parametrize("kind", sorted(entry_points()))
def test_a_kind_has_a_page(kind: str) -> None:
    there = sorted(page.stem for page in PAGES.glob("*.md"))
    assert kind in there, f"docs/servables/{kind}.md is missing, there are {', '.join(there)}"


@pytest.mark.parametrize("kind", sorted(entry_points()))
def test_a_kind_passes_the_contract_suite(kind: str) -> None:
    assert entry_points()[kind] in under_contract()


def test_the_list_of_kinds_has_a_row_for_each_and_for_no_other() -> None:
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(([\w-]+)\.md\)", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert [name for name, page in rows if name != page] == []
    assert sorted(name for name, _ in rows) == sorted(entry_points())
