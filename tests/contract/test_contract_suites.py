"""The suites that plugin authors run find what they promise: a broken plugin fails the test of its promise."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.testing.servable_contract import ServableContract
from pipeline.testing.source_contract import StoragePathSourceContract


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


def names_of(suite: type) -> list[str]:
    return [name for name in dir(suite) if name.startswith("test_")]


def run(suite: type, plugin: str, test: str, folder: Path) -> None:
    case: Any = type(suite.__name__, (suite,), {"entry_point": plugin})()
    getattr(case, test)(folder)


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


@pytest.mark.parametrize(("fault", "test", "evidence"), SERVABLE_FAULTS)
def test_a_broken_kind_fails_the_test_of_its_promise(fault, test, evidence, tmp_path):
    with pytest.raises(Exception, match=evidence):
        run(Sums, f"tests.contract.broken_servables:{fault}", test, tmp_path)


@pytest.mark.parametrize(("fault", "test", "evidence"), SOURCE_FAULTS)
def test_a_broken_source_fails_the_test_of_its_promise(fault, test, evidence, tmp_path):
    with pytest.raises(Exception, match=evidence):
        run(ImpatientListing, f"tests.contract.broken_sources:{fault}", test, tmp_path)
    shutil.rmtree(tmp_path)  # what does not stop ends when its storage is gone


@pytest.mark.parametrize("test", names_of(ServableContract))
def test_a_kind_without_a_fault_passes(test, tmp_path):
    run(Sums, "tests.contract.broken_servables:SumsAdapter", test, tmp_path)


@pytest.mark.parametrize("test", names_of(StoragePathSourceContract))
def test_a_source_without_a_fault_passes(test, tmp_path):
    run(Listing, "tests.contract.broken_sources:Listing", test, tmp_path)


def test_each_promise_has_a_plugin_that_breaks_it():
    assert {test for _, test, _ in SERVABLE_FAULTS} == set(names_of(ServableContract))
    assert {test for _, test, _ in SOURCE_FAULTS} == set(names_of(StoragePathSourceContract))
