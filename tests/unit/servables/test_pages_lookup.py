"""The page of lookup tables: its code runs, and its tables answer with its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lookup_tables import texts

from pipeline import settings
from pipeline.registry.servable import ServableId
from pipeline.servables.kinds import detect
from pipeline.servables.lookup import LookupAdapter, table
from pipeline.servables.lookup.options import LookupOptions
from tests.pages import blocks

PAGE = (Path(__file__).parents[3] / "docs/servables/lookup.md").read_text()


def test_the_tables_of_the_page_answer_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("docs/servables/lookup.md", "python"):
        exec(block, names)
    [text] = blocks("docs/servables/lookup.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(text)
    streams = settings.load(tmp_path / "penstock.yaml").servables
    versions = sorted((tmp_path / "models").glob("*/*"))
    assert [detect(version, {"lookup": LookupAdapter()}) for version in versions] == ["lookup"] * 3

    articles = load(LookupAdapter(), versions[0], **streams["articles"].options)
    answer = articles.predict("", {"id": np.array([11, 99, 12])})
    assert answer["title"].tolist() == [b"a table", b"untitled", b"untitled"]
    assert answer["found"].tolist() == [True, False, True]
    assert answer["embedding"][0].tolist() == [0, 1, 0, 0]
    countries = load(LookupAdapter(), versions[1], **streams["countries"].options)
    assert countries.predict("", {"key": texts(b"is")})["population"].tolist() == [390_000]
    avro = LookupAdapter().loader(ServableId("countries", 2), versions[2], {}).load()
    assert avro.predict("", {"key": texts(b"fr")})["population"].tolist() == [68_500_000]


def test_every_option_is_described_with_its_default() -> None:
    assert not [field.name for field in msgspec.structs.fields(LookupOptions) if f"| `{field.name}` |" not in PAGE]
    assert f"| `memory_map_above_bytes` | {LookupOptions().memory_map_above_bytes >> 20} MiB |" in PAGE
    assert f"| `max_table_bytes` | {LookupOptions().max_table_bytes >> 30} GiB |" in PAGE
    assert f"Up to {table.SMALL_ROWS:,}" in PAGE
    assert f"about {table.OBJECT_BYTES} bytes each" in PAGE
