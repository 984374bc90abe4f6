"""Which paths a worker refuses."""

from __future__ import annotations

import pytest

from pipeline.errors import PathRefused
from pipeline.storage.roots import check_inside


def test_a_path_inside_a_root_is_returned_as_it_really_is(tmp_path):
    (tmp_path / "a" / "1").mkdir(parents=True)
    assert check_inside(f"{tmp_path}/a/../a/1", ["/nowhere", tmp_path]) == tmp_path / "a" / "1"
    assert check_inside(str(tmp_path), [tmp_path]) == tmp_path
    assert check_inside(f"{tmp_path}/not-there", [tmp_path]) == tmp_path / "not-there"


def test_a_root_may_be_a_link(tmp_path):
    (tmp_path / "real" / "1").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert check_inside(str(tmp_path / "root" / "1"), [tmp_path / "root"]) == tmp_path / "real" / "1"


@pytest.mark.parametrize(
    "path",
    ["{root}/../secret", "/etc/passwd", "{root}x", "{root}/out", "{root}/out/deeper", "s3://bucket/1", "a\0b", ""],
)
def test_whatever_leads_out_is_refused(tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(PathRefused):
        check_inside(path.format(root=root), [root])


def test_a_loop_of_links_is_refused_or_stays_inside(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    with pytest.raises(PathRefused):
        check_inside(str(root / "a"), [root])


def test_without_roots_everything_is_refused(tmp_path):
    with pytest.raises(PathRefused, match="none"):
        check_inside(str(tmp_path), [])
