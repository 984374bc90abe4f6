"""Which file system a path lies on, from the kernel's table: the path itself, which may hang, is not touched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# Every change of these goes through this kernel. On the others (NFS, SMB, FUSE) another machine's writes are not told.
_LOCAL: Final = frozenset(
    ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"]
)
_TABLE: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def can_notify(path: str) -> bool:
    """Whether changes below a real path are told by the kernel; False where that can not be found out."""
    try:
        table = _TABLE.read_text("utf-8", "surrogateescape")
    except OSError:  # no Linux
        return False
    return file_system_of(path, table) in _LOCAL


def file_system_of(path: str, table: str) -> str | None:
    """Return the type of the file system that a real path lies on, by a mountinfo table: the longest mount point wins.

    Pure. Of several mounts on one point the last is on top.
    """
    found, longest = None, -1
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]).rstrip("/")
        if (path == point or path.startswith(point + "/")) and len(point) >= longest:
            found, longest = after.split(" ")[0], len(point)
    return found
