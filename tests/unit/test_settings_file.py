"""The settings file is followed at run time: what is right is taken once, what is wrong changes nothing."""

from __future__ import annotations

import os

import pytest

from pipeline.errors import InvalidSettings
from pipeline.settings_file import SettingsFile

TEXT = "servables: {m: {base_path: models/m}}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "penstock.yaml"
    path.write_text(TEXT)
    return path


def write(file, text):
    """Replace the file, as an editor does, with a time of change of its own."""
    write.count += 1
    other = file.with_suffix(".new")
    other.write_text(text)
    os.utime(other, (write.count, write.count))
    other.rename(file)


write.count = 0


def polled(followed):
    """What two polls return, of which the second sees that the file stands still."""
    assert followed.poll() is None
    return followed.poll()


def test_nothing_new_is_nothing(file):
    followed = SettingsFile(file)
    assert followed.poll() is None
    write(file, TEXT)
    assert polled(followed) is None
    write(file, TEXT + "# a remark\n")
    assert polled(followed) is None
    assert followed.problem is None


def test_new_settings_are_returned_once_with_the_environment_and_overrides_of_the_start(file):
    followed = SettingsFile(file, {"PENSTOCK_BOOTSTRAP": "a:1"}, {"worker": {"web_port": 7}})
    write(file, "servables: {n: {base_path: models/n}}\n")
    found = polled(followed)
    assert (list(found.servables), found.bootstrap, found.worker.web_port) == (["n"], "a:1", 7)
    assert followed.current is found
    assert followed.poll() is None


def test_a_file_that_is_still_being_written_is_waited_for(file):
    followed = SettingsFile(file)
    write(file, "servables: {}\n")
    assert followed.poll() is None
    write(file, TEXT + "watch: {quiet_period_s: 9}\n")
    assert followed.poll() is None
    assert followed.poll().watch.quiet_period_s == 9


def test_a_mistake_changes_nothing_and_is_logged_when_it_changes(file, caplog):
    followed = SettingsFile(file)
    before = followed.current
    write(file, "servabels: {}\n")
    assert polled(followed) is None
    assert followed.poll() is None
    assert "servabels" in followed.problem
    write(file, "servabels: {}  # still\n")
    assert polled(followed) is None
    assert len(caplog.records) == 1
    write(file, "servables: 7\n")
    assert polled(followed) is None
    assert len(caplog.records) == 2
    assert followed.current is before
    write(file, TEXT)
    assert polled(followed) is None
    assert followed.problem is None


def test_a_file_that_is_gone_changes_nothing(file):
    followed = SettingsFile(file)
    file.unlink()
    assert polled(followed) is None
    assert "gone" in followed.problem
    write(file, "servables: {n: {base_path: n}}\n")
    assert list(polled(followed).servables) == ["n"]


def test_a_mistake_at_the_start_is_an_error(file):
    write(file, "servabels: {}\n")
    with pytest.raises(InvalidSettings):
        SettingsFile(file)
