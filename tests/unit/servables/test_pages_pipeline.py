"""The pages of pipelines, their ready steps and Python objects: their code runs, their settings load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import openvino  # noqa: F401  # its import starts a thread that lasts: here, and not in the middle of a test
import pytest

from pipeline import settings
from pipeline.registry.servable import ServableId
from pipeline.servables.image.recipe import ImageOptions
from pipeline.servables.kinds import detect, load_adapter, load_adapters
from pipeline.servables.pipeline.adapter import PipelineOptions
from pipeline.servables.pipeline.plan import Plan, StepPlan
from pipeline.servables.python import PythonOptions
from pipeline.servables.top_k import TopKOptions
from tests.pages import blocks

PAGES = Path(__file__).parents[3] / "docs/servables"
KINDS = {
    "pipeline": [PipelineOptions, Plan, StepPlan],
    "image": [ImageOptions],
    "top-k": [TopKOptions],
    "python": [PythonOptions],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_page_writes_a_version_that_its_settings_serve(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks over Kafka is run by tests/acceptance/test_pipeline.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(f"docs/servables/{kind}.md", "python"):
        if "InputQueue" not in block:
            exec(block, names)
    [text] = blocks(f"docs/servables/{kind}.md", "yaml")
    Path("penstock.yaml").write_text(text)
    [(name, stream)] = settings.load(Path("penstock.yaml")).servables.items()
    version = Path(stream.base_path) / "1"
    assert stream.kind == kind or detect(version, load_adapters()) == kind
    loader = load_adapter(kind).loader(ServableId(name, 1), version, stream.options)
    servable = loader.load()
    if kind == "pipeline":
        digits = names["digits"]
        pngs = [cv2.imencode(".png", (image * 255 / 16).astype("u1"))[1].tobytes() for image in digits.images[:50]]
        classes = servable.predict("serving_default", {"image": np.array(pngs, object)})["classes"]
        assert (classes[:, 0] == digits.target[:50]).mean() > 0.95
    if kind == "python":
        answer = servable.predict("serving_default", {"x": np.float32([[1, 2]])})
        assert answer["y"].tolist() == [[4, 7]]
    loader.unload()


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_and_key_is_described(kind: str) -> None:
    text = (PAGES / f"{kind}.md").read_text()
    fields = [field.encode_name for struct in KINDS[kind] for field in msgspec.structs.fields(struct)]
    assert not [field for field in fields if not re.search(rf"^\| .*`{field}`.* \|", text, re.MULTILINE)]
