"""The page about isolation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from pipeline import settings
from pipeline.isolation import crew, segment
from pipeline.settings import StreamSettings
from tests.pages import blocks

PAGE = (Path(__file__).parents[3] / "docs" / "isolation.md").read_text()


def test_its_settings_are_settings_with_those_defaults(tmp_path: Path) -> None:
    [block] = blocks("docs/isolation.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(block)
    stream = settings.load(tmp_path / "penstock.yaml").servables["digits"]
    assert (stream.isolation, stream.processes, stream.predict_timeout_s) == ("process", 2, 10)
    defaults = {field.name: field.default for field in msgspec.structs.fields(StreamSettings)}
    rows = dict(re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", PAGE, re.MULTILINE))
    assert rows == {name: f"{defaults[name]:g}" for name in ("processes", "predict_timeout_s")}
    assert defaults["isolation"] is None
    assert "| `isolation` | by the kind |" in PAGE


def test_its_numbers_are_those_of_the_code() -> None:
    assert crew.LOOP == 3
    assert f"after {crew.pause_s(crew.LOOP)} s, doubled each time up to {crew.pause_s(99):.0f} s" in PAGE
    assert segment.CALLS == 100
