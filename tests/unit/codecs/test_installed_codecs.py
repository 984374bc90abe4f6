"""What a worker has of codecs: those that are installed, with names that do not clash, and guarded."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from pipeline import plugins
from pipeline.codecs.codec import Limits
from pipeline.codecs.guarded import Guarded
from pipeline.codecs.installed import load_codec, load_codecs
from pipeline.errors import NotRepresentable, PluginError, RecordTooLarge, Undecodable
from pipeline.records import PredictRequest, PredictResult

RESULT = PredictResult("a", "m")


def installed(**codecs: str) -> list[EntryPoint]:
    return [EntryPoint(name, codec, plugins.CODECS) for name, codec in codecs.items()]


def broken(name: str) -> list[EntryPoint]:
    return installed(mine=f"tests.contract.broken_codecs:{name}")


def test_ours_are_there_by_name() -> None:
    codecs = load_codecs()
    assert {"avro", "json", "cluster-serving"} <= codecs.keys()
    assert codecs["json"].content_type == "application/json"
    assert load_codec("json").recognises(b"{}")


@pytest.mark.parametrize(("name", "words"), [("Shouts", "X-TAGGED"), ("HasParameters", "without parameters")])
def test_a_content_type_that_no_header_could_name_is_refused(name: str, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        load_codecs(broken(name))


def test_two_codecs_of_one_content_type_are_refused_and_both_are_named() -> None:
    both = installed(json="pipeline.codecs.v2_json:V2JsonCodec", mine="tests.contract.broken_codecs:IsCalledJson")
    with pytest.raises(PluginError, match=r"'mine'.*'application/json' is that of 'json'"):
        load_codecs(both)


def test_a_codec_that_can_not_be_made_is_named() -> None:
    with pytest.raises(PluginError, match=r"'mine'.*can not be made: TypeError"):
        load_codec("mine", installed(mine="pipeline.codecs.guarded:Guarded"))


class Faulty:
    content_type = "application/x-faulty"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise self.error

        return fail


def test_what_a_codec_may_not_raise_is_told_as_its_fault() -> None:
    codec = Guarded("mine", Faulty(KeyError("x")))
    said = r"its codec has a fault: 'mine' raised KeyError: 'x'"
    with pytest.raises(Undecodable, match=said):
        codec.decode_request(b"", Limits())
    with pytest.raises(Undecodable, match=said):
        codec.decode_result(b"")
    with pytest.raises(NotRepresentable, match=said):
        codec.encode_request(PredictRequest("a"))
    with pytest.raises(NotRepresentable, match=said):
        codec.encode_result(RESULT)
    assert codec.recognises(b"x") is False


def test_what_a_codec_may_raise_comes_as_it_is() -> None:
    codec = Guarded("mine", Faulty(RecordTooLarge(2, 1)))
    for call in (lambda: codec.decode_request(b"", Limits()), lambda: codec.encode_result(RESULT)):
        with pytest.raises(RecordTooLarge):
            call()


def test_a_sound_codec_does_behind_its_guard_what_it_does_without_one() -> None:
    [plain], guarded = [it.load()() for it in broken("Tagged")], load_codec("mine", broken("Tagged"))
    request = PredictRequest("a", "m")
    assert guarded.encode_request(request) == plain.encode_request(request)
    assert guarded.encode_result(RESULT) == plain.encode_result(RESULT)
    assert guarded.decode_request(plain.encode_request(request), Limits()) == request
    assert guarded.decode_result(plain.encode_result(RESULT)) == RESULT
    assert guarded.recognises(plain.encode_result(RESULT))
