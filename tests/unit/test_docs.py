"""The documentation names what is there, and its code runs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from pipeline import settings, warm_up
from pipeline.client.queue import QueueOptions
from pipeline.client.request import RequestOptions
from pipeline.errors import PenstockError, RemoteError
from pipeline.metrics import Metrics
from pipeline.records import WarmUp
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.serving.form import form_of
from pipeline.serving.plan import MOST_PADDING
from pipeline.warm_up import comparison, file
from pipeline.warm_up.run import run
from tests.pages import blocks
from tests.unit.test_errors import OURS

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
SECTIONS = [
    settings.ControlSettings,
    settings.WatchSettings,
    settings.WorkerSettings,
    settings.StreamSettings,
    settings.RouteSettings,
    settings.DeadLetterSettings,
    settings.HeaderNames,
    settings.TopicSettings,
    settings.VersionPolicy,
    settings.WarmUpSettings,
    settings.BatchingSettings,
    settings.CircuitSettings,
    settings.ClusterServingSettings,
    settings.RedisSettings,
    settings.RedisRouteSettings,
    settings.SchemaRegistrySettings,
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_described(section: type[msgspec.Struct]) -> None:
    text = (DOCS / "settings.md").read_text()
    missing = [
        field.name for field in msgspec.structs.fields(section) if not re.search(rf"[`{{]{field.name}[`:]", text)
    ]
    assert not missing


@pytest.mark.parametrize("options", [QueueOptions, RequestOptions])
def test_every_option_of_the_client_is_described(options: Any) -> None:
    text = (DOCS / "client.md").read_text()
    described = {
        name for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert not set(options.__annotations__) - described


def test_no_setting_is_described_twice() -> None:
    for table in (DOCS / "settings.md").read_text().split("\n\n"):
        rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        assert sorted(rows) == sorted(set(rows))


def test_every_kind_of_servable_is_among_the_settings() -> None:
    [row] = re.findall(r"^\| `kind` \|.*$", (DOCS / "settings.md").read_text(), re.MULTILINE)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    ours = re.findall(r"^(\S+) =", setup["options.entry_points"]["penstock.servables"], re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", row)) == {"kind", *ours}


@pytest.mark.parametrize("kind", [kind for kind in OURS if kind not in (PenstockError, RemoteError)])
def test_every_error_code_is_described(kind: type[PenstockError]) -> None:
    assert f"`{kind.code}`" in (DOCS / "protocol.md").read_text()


def test_every_header_is_described_with_its_meaning() -> None:
    names = settings.HeaderNames()
    protocol = (DOCS / "protocol.md").read_text()
    assert not [name for name in names.by_name() if f"`{name}`" not in protocol]
    section = (DOCS / "settings.md").read_text().split("### Headers of a route")[1].split("## worker")[0]
    said = [re.findall(r"`([^`]+)`", row) for row in re.findall(r"^\| `.*$", section, re.MULTILINE)]
    assert {name for row in said for name in row} >= {*names.by_name(), *names.__struct_fields__}


def test_the_names_of_headers_in_the_documentation_are_settings(tmp_path: Path) -> None:
    [block] = [block for block in blocks("docs/settings.md", "yaml") if "headers:" in block]
    (tmp_path / "penstock.yaml").write_text(f"servables: {{digits: {{base_path: digits}}}}\n{block}")
    names = settings.load(tmp_path / "penstock.yaml").routes["digits"].headers
    assert (names.servable, names.reply_topic, names.id) == (("x-model", "model"), (), settings.HeaderNames().id)


def test_every_metric_is_described() -> None:
    text = (DOCS / "settings.md").read_text()
    for metric in Metrics().registry.collect():
        assert f"`{metric.name}" in text


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["architecture.md", "redis.md"])
def test_the_files_that_prove_what_is_guaranteed_exist(page: str) -> None:
    text = (DOCS / page).read_text()
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_warm_up_file_of_the_guide_is_written_and_a_model_that_does_as_it_says_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HalfPlusTwo:
        signatures: ClassVar = {
            "serving_default": Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))
        }

        def predict(self, _signature: str, inputs: Any) -> Any:
            return {"y": inputs["x"] * np.float32(0.5) + np.float32(2)}

    monkeypatch.chdir(tmp_path)
    [block] = blocks("docs/warm-up.md", "python")
    exec(block, {})  # the guide's own code
    records = warm_up.read("models/half-plus-two/2")
    verdicts = list(run(ServableId("half-plus-two", 2), HalfPlusTwo(), records))
    assert [(verdict.is_golden, verdict.calls, verdict.error) for verdict in verdicts] == [
        (True, 3, None),
        (False, 3, None),
    ]
    [text] = blocks("docs/warm-up.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(text)
    assert settings.load(tmp_path / "penstock.yaml").servables["half-plus-two"].warm_up.required


def test_the_page_of_batching_has_every_setting_and_its_example_is_one_that_fits_a_model_of_text(
    tmp_path: Path,
) -> None:
    text = (DOCS / "batching.md").read_text()
    fields = [field.name for field in msgspec.structs.fields(settings.BatchingSettings)]
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == fields
    [block] = blocks("docs/batching.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(block)
    batching = settings.load(tmp_path / "penstock.yaml").servables["sentiment"].batching

    class Sentiment:
        signatures: ClassVar = {
            "serving_default": Signature(
                tuple([TensorSpec(name, "INT64", (-1, -1)) for name in ("input_ids", "attention_mask")]),
                (TensorSpec("token_scores", "FP32", (-1, -1, -1)),),
            )
        }

        def predict(self, _signature: str, inputs: Any) -> Any:
            raise NotImplementedError

    form = form_of("sentiment/1", Sentiment(), "serving_default", batching)
    assert (form.is_padding, form.sizes, form.multiples, form.mask) == (True, (1, 8, 32), (16,), 1)
    assert f"at most {['no', 'one', 'two', 'three', 'four'][MOST_PADDING]} times the elements" in text


def test_every_field_and_limit_of_the_warm_up_file_is_described() -> None:
    text = (DOCS / "warm-up.md").read_text()
    assert not [field.name for field in msgspec.structs.fields(WarmUp) if f"`{field.name}`" not in text]
    assert f"{file.MAX_RECORDS} records, {file.MAX_BYTES >> 20} MiB" in text
    assert f"up to {file.MAX_ITERATIONS:,} |" in text
    assert f"up to {file.MAX_ROWS:,}, " in text
    assert f"rtol {comparison.FP_RTOL}, atol {comparison.FP_ATOL:.5f}" in text


def test_the_pattern_of_the_settings_page_is_one(tmp_path: Path) -> None:
    [block] = [block for block in blocks("docs/settings.md", "yaml") if "orders" in block]
    (tmp_path / "penstock.yaml").write_text(f"servables: {{orders: {{base_path: m}}}}\n{block}")
    route = settings.load(tmp_path / "penstock.yaml").routes["orders"]
    assert route.reads("orders.eu.requests")
    assert not route.reads(route.results_of("orders.eu.requests"))


def test_the_settings_of_the_documentation_are_settings(tmp_path: Path) -> None:
    [readme] = blocks("README.md", "yaml")
    for text in (readme, (ROOT / "examples/compose/penstock.yaml").read_text()):
        path = tmp_path / "penstock.yaml"
        path.write_text(text)
        assert settings.load(path).routes
