"""The documentation names what is there, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pipeline import settings
from pipeline.errors import PenstockError, RemoteError
from pipeline.metrics import Metrics
from pipeline.serving import headers
from tests.unit.test_errors import OURS

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
SECTIONS = [
    settings.ControlSettings,
    settings.WatchSettings,
    settings.WorkerSettings,
    settings.StreamSettings,
    settings.RouteSettings,
    settings.VersionPolicy,
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_described(section: type[msgspec.Struct]) -> None:
    text = (DOCS / "settings.md").read_text()
    missing = [
        field.name for field in msgspec.structs.fields(section) if not re.search(rf"[`{{]{field.name}[`:]", text)
    ]
    assert not missing


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind not in (PenstockError, RemoteError)])
def test_every_error_code_is_described(kind: type[PenstockError]) -> None:
    assert f"`{kind.code}`" in (DOCS / "protocol.md").read_text()


def test_every_header_is_described() -> None:
    text = (DOCS / "protocol.md").read_text()
    assert not [name for name in headers._KNOWN if f"`{name}`" not in text]


def test_every_metric_is_described() -> None:
    text = (DOCS / "settings.md").read_text()
    for metric in Metrics().registry.collect():
        assert f"`{metric.name}" in text


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (DOCS / "architecture.md").read_text()
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_settings_of_the_documentation_are_settings(tmp_path: Path) -> None:
    [readme] = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for text in (readme, (ROOT / "examples/compose/penstock.yaml").read_text()):
        path = tmp_path / "penstock.yaml"
        path.write_text(text)
        assert settings.load(path).routes
