"""The suites that plugin authors run find what they promise: a broken plugin fails the test of its promise."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.testing.codec_contract import CodecContract
from pipeline.testing.servable_contract import ServableContract
from pipeline.testing.source_contract import StoragePathSourceContract
from pipeline.testing.token_contract import TokenProviderContract
from tests.contract import test_codecs


class Sums(ServableContract):
    frameworks: ClassVar = ("colorsys",)

    def write_version(self, path):
        path.mkdir()
        (path / "sums.txt").write_text("10")

    def write_broken_version(self, path):
        path.mkdir()
        (path / "sums.txt").write_text("ten")


class Listing(StoragePathSourceContract):
    def write_versions(self, base_path, versions):
        base_path.mkdir(exist_ok=True)
        for version in versions:
            (base_path / str(version)).mkdir(exist_ok=True)
        (base_path / "LIVE.new").write_text(" ".join(map(str, versions)))
        (base_path / "LIVE.new").rename(base_path / "LIVE")


class ImpatientListing(Listing):
    deadline_s = 2.0  # what never happens is waited for so long


class Tokens(TokenProviderContract):
    def make_config(self, folder):
        return "somewhere"

    def make_broken_config(self, folder):
        return ""


class Tagged(CodecContract):
    requests, results = test_codecs.TestV2Json.requests, test_codecs.TestV2Json.results


def names_of(suite: type) -> list[str]:
    return [name for name in dir(suite) if name.startswith("test_")]


def run(suite: type, plugin: str, test: str, folder: Path) -> None:
    case: Any = type(suite.__name__, (suite,), {"entry_point": plugin})()
    getattr(case, test)(folder)


def check_codec(codec: str, test: str) -> None:
    case: Any = type("Tagged", (Tagged,), {"entry_point": f"tests.contract.broken_codecs:{codec}"})()
    getattr(case, test)()


SERVABLE_FAULTS = [
    ("DetectsAll", "test_its_own_files_are_detected_and_no_others", "a path is detected that is missing"),
    ("DetectsNothing", "test_its_own_files_are_detected_and_no_others", "own version is not detected"),
    ("ReadsAll", "test_detecting_reads_no_more_than_a_little", "read more than 1 MiB"),
    ("OpensEarly", "test_nothing_is_done_before_the_load", "No such file"),
    ("ImportsEarly", "test_nothing_is_done_before_the_load", "before the load: colorsys"),
    ("StartsThread", "test_nothing_is_done_before_the_load", "before the load: early"),
    ("TakesAnyOptions", "test_wrong_options_are_refused_before_the_load", "expected InvalidSettings, got None"),
    ("RaisesAnything", "test_a_broken_version_fails_to_load_with_its_reason", "expected LoadFailed, got ValueError"),
    ("LoadsAnything", "test_a_broken_version_fails_to_load_with_its_reason", "expected LoadFailed, got None"),
    ("NoSignature", "test_it_answers_what_its_signatures_declare", "no signature"),
    ("DiesOfDamage", "test_damaged_files_fail_their_version_and_never_the_worker", "the process died of it"),
    (
        "RaisesForDamage",
        "test_damaged_files_fail_their_version_and_never_the_worker",
        "expected LoadFailed, got ValueE",
    ),
    ("FixedBatch", "test_it_answers_what_its_signatures_declare", "axis 0 of a batch is -1"),
    ("NoOutput", "test_it_answers_what_its_signatures_declare", "output sum is missing"),
    ("WrongDatatype", "test_it_answers_what_its_signatures_declare", "sum is float64, declared as FP32"),
    ("WrongShape", "test_it_answers_what_its_signatures_declare", r"sum has shape \(1, 1\)"),
    ("MixesRows", "test_rows_are_independent", "sum"),
    ("MixesThreads", "test_threads_do_not_mix_their_answers", "sum"),
    ("Writes", "test_inputs_are_read_only_and_are_let_go_of", "input x was changed"),
    ("Keeps", "test_inputs_are_read_only_and_are_let_go_of", "kept after the call"),
    ("NeedsMore", "test_the_estimate_is_an_upper_bound_that_only_falls", "the estimate is 1000 bytes, the load took"),
    ("RisingEstimate", "test_the_estimate_is_an_upper_bound_that_only_falls", "rose from 1000 to 2000"),
    ("KeepsServables", "test_an_unloaded_version_is_freed_and_can_be_loaded_again", "still there after its unload"),
    ("LoadsOnce", "test_an_unloaded_version_is_freed_and_can_be_loaded_again", "used up"),
    ("TearsDownOthers", "test_versions_do_not_need_each_other", "offset"),
]

SOURCE_FAULTS = [
    ("LosesTheKind", "test_the_full_set_of_a_stream_is_published", "the kind is None"),
    ("InventsPaths", "test_the_full_set_of_a_stream_is_published", "paths that are not there"),
    ("TellsWhatIsNew", "test_a_new_version_joins_the_set_and_an_old_one_leaves_it", "not within"),
    ("NeverUnloads", "test_a_new_version_joins_the_set_and_an_old_one_leaves_it", "not within"),
    ("Flickers", "test_what_did_not_change_is_published_as_it_was_or_not_at_all", "the sets were"),
    ("UnloadsWhenAway", "test_storage_that_is_away_changes_nothing", r"the sets were \[\[1\], \[\]\]"),
    ("UnloadsWhenAway", "test_storage_that_was_never_there_delays_nobody", r"the sets were \[\[\]\]"),
    ("RaisesWhenAway", "test_storage_that_is_away_changes_nothing", "LIVE"),
    ("RaisesWhenAway", "test_storage_that_was_never_there_delays_nobody", "LIVE"),
    ("RaisesWhenAway", "test_storage_that_makes_no_sense_stops_nothing", "LIVE"),
    ("RaisesWhenRefused", "test_what_could_not_be_published_is_told_again", "away"),
    ("ForgetsWhatWasRefused", "test_what_could_not_be_published_is_told_again", "not within"),
    ("NeverStarts", "test_it_makes_its_own_steps_from_start_to_stop", "not within"),
    ("NeverStops", "test_it_makes_its_own_steps_from_start_to_stop", "threads left: .*endless"),
    ("StopsOnlyOnce", "test_stopping_is_no_error_at_any_time", "stopped already"),
]

CODEC_FAULTS = [
    ("Shouts", "test_its_content_type_is_its_own", "expected one in small letters"),
    ("HasParameters", "test_its_content_type_is_its_own", "without parameters"),
    ("IsCalledJson", "test_its_content_type_is_its_own", "its content type is that of 'json'"),
    ("RecognisesAll", "test_it_recognises_its_own_and_no_others", "a request of 'avro' is recognised"),
    ("RecognisesEmptiness", "test_it_recognises_its_own_and_no_others", "without a value is recognised"),
    ("RecognisesNone", "test_it_recognises_its_own_and_no_others", "its own records are not recognised"),
    ("RaisesForOneByte", "test_it_recognises_its_own_and_no_others", "index out of range"),
    ("LosesParameters", "test_requests_come_back_equal", "parameters"),
    ("LosesTheSource", "test_results_come_back_equal", "source"),
    ("LosesErrors", "test_an_error_is_a_result", "came back as a result without an error"),
    ("RefusesErrors", "test_an_error_is_a_result", "an error has no outputs"),
    ("RaisesForText", "test_what_has_no_form_is_not_representable", "text"),
    ("WritesText", "test_what_has_no_form_is_not_representable", "bytes were expected, got str"),
    ("RaisesForGarbage", "test_any_bytes_are_a_request_or_a_bad_request", "not found"),
    ("ChecksNoTensor", "test_any_bytes_are_a_request_or_a_bad_request", "needs 8 bytes"),
    ("HasNumbersForNames", "test_any_bytes_are_a_request_or_a_bad_request", "encode"),
    ("RaisesForGarbage", "test_any_bytes_are_a_result_or_undecodable", "not found"),
    ("IgnoresLargeRecords", "test_limits_hold", "expected RecordTooLarge within .* got None"),
    ("IgnoresManyTensors", "test_limits_hold", "expected TooManyTensors within .* got None"),
    ("TrustsLengths", "test_lengths_that_lie_cost_no_memory", "byte 4 set to 0x.*: took|byte 5 .*MemoryError"),
    ("MixesThreads", "test_threads_do_not_mix_their_records", "came back as another one"),
    ("RemembersByLength", "test_what_was_read_before_changes_nothing", "two codecs read one record differently"),
    ("AnswersInAvro", "test_a_request_is_answered_in_its_own_format", "its tag or its length is wrong"),
]

TOKEN_FAULTS = [
    ("gives_no_end", "test_a_token_and_when_it_expires_are_returned", "expected, got str"),
    ("gives_three", "test_a_token_and_when_it_expires_are_returned", "got 3 values"),
    ("gives_bytes", "test_a_token_and_when_it_expires_are_returned", "the token is bytes"),
    ("keeps_the_line_end", "test_a_token_and_when_it_expires_are_returned", "white space"),
    ("counts_milliseconds", "test_a_token_and_when_it_expires_are_returned", "milliseconds"),
    ("gives_an_old_one", "test_a_token_and_when_it_expires_are_returned", "has expired"),
    ("wants_one_thread", "test_any_thread_may_ask", "no event loop"),
    ("gives_nothing_for_nothing", "test_where_no_token_can_be_had_it_raises", "tuple was returned"),
    ("says_nothing", "test_where_no_token_can_be_had_it_raises", "says nothing"),
]


@pytest.mark.parametrize(("fault", "test", "evidence"), SERVABLE_FAULTS)
def test_a_broken_kind_fails_the_test_of_its_promise(fault, test, evidence, tmp_path):
    with pytest.raises(Exception, match=evidence):
        run(Sums, f"tests.contract.broken_servables:{fault}", test, tmp_path)


@pytest.mark.parametrize(("fault", "test", "evidence"), SOURCE_FAULTS)
def test_a_broken_source_fails_the_test_of_its_promise(fault, test, evidence, tmp_path):
    with pytest.raises(Exception, match=evidence):
        run(ImpatientListing, f"tests.contract.broken_sources:{fault}", test, tmp_path)
    shutil.rmtree(tmp_path)  # what does not stop ends when its storage is gone


@pytest.mark.parametrize(("fault", "test", "evidence"), CODEC_FAULTS)
def test_a_broken_codec_fails_the_test_of_its_promise(fault, test, evidence):
    with pytest.raises(Exception, match=evidence):
        check_codec(fault, test)


@pytest.mark.parametrize(("fault", "test", "evidence"), TOKEN_FAULTS)
def test_a_broken_token_provider_fails_the_test_of_its_promise(fault, test, evidence, tmp_path):
    with pytest.raises(Exception, match=evidence):
        run(Tokens, f"tests.contract.broken_token_providers:{fault}", test, tmp_path)


@pytest.mark.parametrize("test", names_of(TokenProviderContract))
def test_a_token_provider_without_a_fault_passes(test, tmp_path):
    run(Tokens, "tests.contract.broken_token_providers:provide", test, tmp_path)


@pytest.mark.parametrize("test", names_of(CodecContract))
def test_a_codec_without_a_fault_passes(test):
    check_codec("Tagged", test)


@pytest.mark.parametrize("test", names_of(ServableContract))
def test_a_kind_without_a_fault_passes(test, tmp_path):
    run(Sums, "tests.contract.broken_servables:SumsAdapter", test, tmp_path)


@pytest.mark.parametrize("test", names_of(StoragePathSourceContract))
def test_a_source_without_a_fault_passes(test, tmp_path):
    run(Listing, "tests.contract.broken_sources:Listing", test, tmp_path)


def test_each_promise_has_a_plugin_that_breaks_it():
    assert {test for _, test, _ in SERVABLE_FAULTS} == set(names_of(ServableContract))
    assert {test for _, test, _ in SOURCE_FAULTS} == set(names_of(StoragePathSourceContract))
    assert {test for _, test, _ in CODEC_FAULTS} == set(names_of(CodecContract))
    assert {test for _, test, _ in TOKEN_FAULTS} == set(names_of(TokenProviderContract))
