"""Frameworks are imported without what nobody here needs, which can be imported all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx_models
import pytest

from pipeline.errors import MissingExtra
from pipeline.servables.framework import imported


@pytest.fixture
def greedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that imports another where it can; both have the test's names."""
    (tmp_path / "greedy_heavy.py").write_text("")
    (tmp_path / "greedy.py").write_text("try:\n    import greedy_heavy\nexcept ImportError:\n    greedy_heavy = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "greedy"
    for name in ("greedy", "greedy_heavy"):
        sys.modules.pop(name, None)


def test_what_is_not_needed_is_not_imported_and_can_be_afterwards(greedy: str) -> None:
    assert imported("m/1", greedy, "Greedy", "greedy", without="greedy_heavy").greedy_heavy is None
    assert "greedy_heavy" not in sys.modules
    __import__("greedy_heavy")
    assert sys.modules["greedy_heavy"] is not None


def test_what_is_imported_already_stays(greedy: str) -> None:
    __import__("greedy_heavy")
    assert imported("m/1", greedy, "Greedy", "greedy", without="greedy_heavy").greedy_heavy is not None
    assert sys.modules["greedy_heavy"] is not None


def test_a_module_that_is_missing_hides_nothing_for_good() -> None:
    with pytest.raises(MissingExtra, match=r"penstock-serving\[greedy\]"):
        imported("m/1", "there_is_no_such_module", "Greedy", "greedy", without="greedy_heavy")
    assert "greedy_heavy" not in sys.modules


def test_openvino_comes_without_its_converter_which_can_be_used_all_the_same(tmp_path: Path) -> None:
    path = onnx_models.write_onnx(tmp_path, onnx_models.image_onnx())
    code = f"""
import sys
from pipeline.servables.openvino import OpenVinoAdapter
OpenVinoAdapter().prepare()
assert not {{"openvino.tools.ovc", "openvino_telemetry", "absl"}} & set(sys.modules)
sys.modules["openvino_telemetry"] = None  # nobody shall be told of tests
import openvino
assert len(openvino.convert_model({str(path / "model.onnx")!r}).inputs) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scikit_learn_does_not_bring_pytorch() -> None:
    code = """
import sys
from pipeline.servables.sklearn import adapter
adapter().prepare()
assert "sklearn" in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
