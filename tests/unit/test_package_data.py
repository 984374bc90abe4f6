"""What setup.cfg says is in the package is there: setuptools passes over what it does not find."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PATTERNS = [
    (package, pattern.strip())
    for package, patterns in SETUP["options.package_data"].items()
    for pattern in patterns.split(",")
]


@pytest.mark.parametrize(("package", "pattern"), PATTERNS)
def test_each_pattern_of_package_data_finds_something(package: str, pattern: str) -> None:
    assert list((ROOT / package).glob(pattern))
