"""The page about PyTorch: what it exports is served as it says."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline import settings
from pipeline.registry.servable import ServableId
from pipeline.servables.torch import TorchAdapter
from pipeline.servables.torch.options import TorchOptions
from tests.pages import blocks

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "servables" / "torch.md").read_text()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The names that the page's Python leaves, and the servables of its settings, by stream."""
    names, servables = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in blocks("docs/servables/torch.md", "python"):
            exec(block, names)
        for block in blocks("docs/servables/torch.md", "yaml"):
            Path("penstock.yaml").write_text(block)
            servables |= settings.load(Path("penstock.yaml").absolute()).servables
        loaders = [
            TorchAdapter().loader(ServableId(stream, 1), Path(chosen.base_path) / "1", chosen.options)
            for stream, chosen in servables.items()
        ]
        yield names, dict(zip(servables, [loader.load() for loader in loaders], strict=True))
        for loader in loaders:
            loader.unload()


@pytest.mark.parametrize("stream", ["digits", "scripted", "weights", "safe"])
def test_what_the_page_exports_answers_as_it_does_in_pytorch(stream, exported):
    names, servables = exported
    module = names["net"] if stream in ("digits", "scripted") else names["net"][0]
    [answer] = servables[stream].predict("", {"input": names["x"][:50].numpy()}).values()
    np.testing.assert_array_equal(answer, module(names["x"][:50]).detach().numpy())


def test_every_option_is_described():
    overview = (DOCS / "settings.md").read_text()
    for field in msgspec.structs.fields(TorchOptions):
        assert re.search(rf"^\|[^|]*`{field.name}`", PAGE, re.MULTILINE)
        assert f"`{field.name}`" in overview
