"""A kind keeps its contract in processes of its own: the same suite, run on it there."""

from __future__ import annotations

import test_servables as kinds


class TestIsolatedOpenVino(kinds.TestOpenVino):
    entry_point = "tests.contract.isolated_kinds:openvino"
    damaged_versions = 4


class TestIsolatedPython(kinds.TestPython):
    """In two processes, among which batches are divided."""

    entry_point = "tests.contract.isolated_kinds:python"
    damaged_versions = 2


class TestIsolatedLookup(kinds.TestLookup):
    entry_point = "tests.contract.isolated_kinds:lookup"
    damaged_versions = 4
