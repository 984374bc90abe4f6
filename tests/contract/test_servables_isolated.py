"""A kind keeps its contract in processes of its own: the same suite, run on it there."""

from __future__ import annotations

import openvino  # noqa: F401  # its import starts a thread that lasts: here, and not in the middle of a test
import test_servables
import test_servables_lookup
import test_servables_openvino


class TestIsolatedOpenVino(test_servables_openvino.TestOpenVinoIr):
    entry_point = "tests.contract.isolated_kinds:openvino"
    damaged_versions = 4


class TestIsolatedPython(test_servables.TestPython):
    """In two processes, among which batches are divided."""

    entry_point = "tests.contract.isolated_kinds:python"
    damaged_versions = 2


class TestIsolatedLookup(test_servables_lookup.TestLookup):
    entry_point = "tests.contract.isolated_kinds:lookup"
    damaged_versions = 4
