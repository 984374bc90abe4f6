"""What docs/servables/tensorflow.md shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import yaml

from pipeline.servables.tensorflow import TensorFlowAdapter
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "servables" / "tensorflow.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_its_models_are_exported_and_served_under_its_settings(tmp_path, monkeypatch, load):
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, code in BLOCKS:
        if language == "python":
            exec(code, names)
    (settings,) = (msgspec.convert(yaml.safe_load(code), Settings) for language, code in BLOCKS if language == "yaml")
    adapter = TensorFlowAdapter()
    digits = [
        load(adapter, Path("models/digits") / version, **settings.servables["digits"].options) for version in "12"
    ]
    image = np.ones((3, 64), "f4")
    one, two = (servable.predict("serving_default", {"image": image})["output_0"] for servable in digits)
    assert one.shape == (3, 10)
    np.testing.assert_allclose(one, two, rtol=1e-5)
    text = load(adapter, Path("models/text/1"), **settings.servables["text"].options)
    words = np.array([b"four", b"three"], object)
    assert text.predict("serving_default", {"text": words})["length"].tolist() == [4, 5]
    assert text.predict("total", {"text": words})["total"] == 9
    assert not text.signatures["total"].batched


def test_its_table_lists_every_option():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == list(TensorFlowOptions.__struct_fields__)
