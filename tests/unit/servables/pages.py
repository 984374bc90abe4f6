"""A page of docs/servables, run: its Python in order as one program, its settings loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import settings
from pipeline.registry.servable import Servable, ServableId
from pipeline.servables import kinds
from tests.pages import blocks

PAGES = Path(__file__).parents[3] / "docs" / "servables"


def run_python(page: str) -> dict[str, Any]:
    """Run every Python block, in order and in the working directory, and return the names that they leave.

    ``page`` is the name without ``.md``. The caller has changed to a temporary folder. What a block raises fails the
    test, with the page and line.
    """
    names: dict[str, Any] = {"__name__": page}
    text = (PAGES / f"{page}.md").read_text()
    for block in blocks(f"docs/servables/{page}.md", "python"):
        before = text[: text.index(block)].count("\n")
        exec(compile("\n" * before + block, str(PAGES / f"{page}.md"), "exec"), names)
    return names


def load_settings(page: str) -> list[settings.Settings]:
    """Write each yaml block as ``penstock.yaml`` into the working directory, and return it loaded."""
    loaded = []
    for block in blocks(f"docs/servables/{page}.md", "yaml"):
        Path("penstock.yaml").write_text(block)
        loaded.append(settings.load(Path("penstock.yaml").absolute()))
    return loaded


def load_version(loaded: settings.Settings, stream: str, version: int = 1) -> Servable:
    """Return the servable of one version as a worker with these settings would; never unloaded."""
    chosen = loaded.servables[stream]
    path = Path(chosen.base_path) / str(version)
    kind = chosen.kind or kinds.detect(path, kinds.load_adapters())
    return kinds.load_adapter(kind).loader(ServableId(stream, version), path, chosen.options).load()
