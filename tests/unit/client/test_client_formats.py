"""The client writes and reads any format that is installed."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from pipeline import plugins
from pipeline.client import InputQueue
from pipeline.client.address import Address
from pipeline.client.wire import Wire
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import InvalidSettings
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import from_array
from tests.contract.broken_codecs import Tagged

REQUEST = PredictRequest("a", inputs=(from_array("x", np.ones(2, np.float32)),))
RESULT = PredictResult("a", "digits", 3, REQUEST.inputs)
TAGGED = Tagged()


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Ours, and one more."""
    codecs = [*plugins.installed().select(group=plugins.CODECS)]
    codecs.append(EntryPoint("tagged", "tests.contract.broken_codecs:Tagged", plugins.CODECS))
    monkeypatch.setattr(plugins, "installed", lambda: EntryPoints(codecs))
    return codecs


def wire() -> Wire:
    return Wire(Address.of("digits", "", {}))


def test_a_request_goes_out_in_the_format_of_its_name_and_says_which() -> None:
    named = [("content-type", b"application/x-tagged")]
    assert wire().write("tagged", REQUEST) == (TAGGED.encode_request(REQUEST), named)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (TAGGED.encode_result(RESULT), [("content-type", b"application/x-tagged")]),
        (TAGGED.encode_result(RESULT), [("other", None), ("content-type", b"Application/X-Tagged; a=b")]),
        (TAGGED.encode_result(RESULT), []),
        (TAGGED.encode_result(RESULT), [("content-type", b"who/knows")]),
        (AvroCodec().encode_result(RESULT), [("content-type", b"application/x-tagged")]),
        (V2JsonCodec().encode_result(RESULT), [("content-type", b"who/knows")]),
        (V2JsonCodec().encode_result(RESULT), []),
    ],
)
def test_a_result_is_read_by_its_content_type_else_by_its_first_bytes(
    value: bytes, headers: list[tuple[str, bytes | None]]
) -> None:
    assert wire().read(value, headers) == RESULT


def test_a_plugin_that_is_broken_costs_the_results_in_its_format_alone(
    installed: list[EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    installed.append(EntryPoint("absent", "no_such_module:Codec", plugins.CODECS))
    it = wire()
    with caplog.at_level(logging.WARNING):
        assert it.read(V2JsonCodec().encode_result(RESULT), [("content-type", b"who/knows")]) == RESULT
    assert "'absent'" in caplog.text


def test_a_format_that_is_not_installed_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(InvalidSettings, match=r"'xml' is not installed; known: avro, cluster-serving, json, tagged"):
        InputQueue(format="xml")
    InputQueue(format="tagged").close()
