"""What a manifest may say, and which file system a path lies on."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, strategies as st

from pipeline.storage import manifest
from pipeline.storage.folder import FileStamp
from pipeline.storage.mounts import file_system_of

A, B = "a" * 64, "B" * 64


def test_lines_of_sha256sum_are_read():
    text = f"{A}  model.bin\n{B} *./deep/er.bin\n\n# a remark\n{A}  with two  spaces\r\n"
    assert manifest.parse(text.encode()) == {"model.bin": A, "deep/er.bin": "b" * 64, "with two  spaces": A}


def test_what_sha256sum_itself_writes_is_read_even_for_odd_names(tmp_path):
    names = ["plain", "two words", "line\nbreak", "back\\slash", "ä"]
    for name in names:
        (tmp_path / name).write_text(name)
    done = subprocess.run(["sha256sum", "--", *names], cwd=tmp_path, capture_output=True, check=True)
    assert set(manifest.parse(done.stdout)) == set(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no file"),
        ("nonsense", "line 1"),
        (f"{A}  ok\n{A[:-1]}  short", "line 2"),
        (f"{A}  ../secret", "not inside"),
        (f"{A}  a/../../secret", "not inside"),
        (f"{A}  /etc/passwd", "not inside"),
        (f"{A}  a//b", "not inside"),
        (f"{A}  nul\0", "not inside"),
        (f"{A}  a\n{B}  ./a", "again"),
        ("\x00\xff" * 50, "line 1"),
    ],
)
def test_a_manifest_that_is_none_or_leads_out_is_refused_by_line(text, words):
    with pytest.raises(ValueError, match=words):
        manifest.parse(text.encode("latin-1"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_value_error(data):
    try:
        listed = manifest.parse(data)
    except ValueError:
        return
    assert not any(name.startswith("/") or ".." in name.split("/") for name in listed)


def test_missing_and_differing_files_are_named():
    stamps = (FileStamp("a", 1, 0), FileStamp("b", 1, 0))
    assert manifest.missing_from(stamps, {"a": A, "c": A}) == ["c"]
    assert manifest.differing({"a": A, "b": A}, {"a": A, "b": B, "c": A}) == ["b"]


TABLE = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /mnt/my\\040share rw - nfs4 server:/x rw
31 22 0:26 / /mnt/my\\040share/local rw shared:7 master:1 - xfs /dev/sdb rw
32 22 0:27 / /over rw - overlay overlay rw
33 22 0:28 / /over rw - fuse.sshfs x rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/models", "ext4"), ("/", "ext4"), ("/mnt/my share", "nfs4"), ("/mnt/my share/a/b", "nfs4"),
        ("/mnt/my shared", "ext4"), ("/mnt/my share/local/x", "xfs"), ("/over/x", "fuse.sshfs"),
    ],
)  # fmt: skip
def test_the_longest_and_last_mount_point_tells_the_file_system(path, kind):
    assert file_system_of(path, TABLE) == kind
