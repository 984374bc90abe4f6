"""The guide to dead letters names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline import settings
from pipeline.connector import Record
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.records import Error
from tests.pages import blocks

PAGE = (Path(__file__).parents[3] / "docs" / "dead-letters.md").read_text()


def test_the_settings_of_the_page_are_settings(tmp_path: Path) -> None:
    [block] = blocks("docs/dead-letters.md", "yaml")
    path = tmp_path / "penstock.yaml"
    path.write_text(block)
    route = settings.load(path).routes["digits"]
    assert (route.dead_letter_topic, route.poison_after_kills) == ("dlq.digits", 5)
    assert route.dead_letters.takes("model_error")
    assert not route.dead_letters.takes("not_ready")


def test_the_page_has_each_header_and_the_defaults() -> None:
    record = Record(b"", None, (), "q", 0, 0, 0)
    reason = Reason(Error("undecodable", "", retriable=False), "w", "g", 0, omitted_bytes=1)
    for name, _ in headers.write(record, reason, "both"):
        assert name in PAGE or re.sub(r"^(kafka_dlt-\w+|__connect\.errors)", "", name) in PAGE, name
    assert f"`{headers.ATTEMPT}`" in PAGE
    assert f"cut at {headers._MAX_MESSAGE_BYTES:,} bytes" in PAGE
    default = settings.DeadLetterSettings()
    assert all(f"`{code}`" in PAGE for code in default.errors)
