"""What the pages of OpenVINO and ONNX Runtime show is run, and what it makes is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.registry.servable import ServableId
from pipeline.servables import kinds
from pipeline.servables.onnxruntime import OnnxRuntimeOptions
from pipeline.servables.openvino.options import OpenVinoOptions
from tests.pages import blocks

PAGES = Path(__file__).parents[3] / "docs/servables"


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_the_commands_of_a_page_make_a_version_that_its_settings_serve(kind: str, tmp_path: Path) -> None:
    """In a process of their own, as a reader runs them: PyTorch is in none of the other tests' way."""
    code = "\n".join(blocks(f"docs/servables/{kind}.md", "python"))
    done = subprocess.run(  # the page's own code
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [text] = blocks(f"docs/servables/{kind}.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(text)
    stream = settings.load(tmp_path / "penstock.yaml").servables["digits"]
    assert stream.kind == kind
    loader = kinds.load_adapter(kind).loader(ServableId("digits", 1), tmp_path / "models/digits/1", stream.options)
    servable = loader.load()
    assert servable.signatures["serving_default"].batched
    assert servable.predict("", {"x": np.zeros((3, 64), np.float32)})["scores"].shape == (3, 10)
    loader.unload()


@pytest.mark.parametrize(("kind", "options"), [("openvino", OpenVinoOptions), ("onnxruntime", OnnxRuntimeOptions)])
def test_a_page_and_the_settings_describe_every_option(kind: str, options: type) -> None:
    page = (PAGES / f"{kind}.md").read_text()
    all_settings = (PAGES.parent / "settings.md").read_text()
    for option in options.__struct_fields__:
        assert f"`{option}`" in page, option
        assert f"`{option}`" in all_settings, option
