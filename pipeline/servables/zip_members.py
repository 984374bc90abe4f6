"""The members of a zip file that a model is in, checked before a framework, which trusts it, opens the file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

_MOST_MEMBERS: Final = 1_000_000
# What a small file may hold, whatever its size: text compresses well.
_ALWAYS_ALLOWED_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 20
_ENCRYPTED: Final = 0x1
# What Python's reader raises for files that are damaged, or made to do damage; and OSError, for a place outside.
DAMAGED: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
)


def check_members(
    archive: zipfile.ZipFile, archive_bytes: int, most_expansion: int, always_allowed_bytes: int = _ALWAYS_ALLOWED_BYTES
) -> None:
    """Raise ValueError for a zip file of ``archive_bytes`` that no framework writes; reads none of its members.

    That is: a name that stands twice or leads out of it, members that overlap or are encrypted, a stored one with two
    sizes, and more than ``most_expansion`` times its size inside, unless that is less than what is always allowed.
    """
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(members) > _MOST_MEMBERS or len(set(names)) != len(names):
        raise ValueError("its members are too many, or two have one name")
    for member in members:
        if _is_odd(member.filename) or member.flag_bits & _ENCRYPTED:
            raise ValueError(f"its member {member.filename!r} leads out of it, or is encrypted")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ValueError(f"its member {member.filename!r} has two sizes")
    if sum(member.compress_size for member in members) > archive_bytes:
        raise ValueError("its members overlap")
    size, most = sum(member.file_size for member in members), max(archive_bytes * most_expansion, always_allowed_bytes)
    if size > most:
        raise ValueError(f"it expands to {size} bytes, the limit is {most} for a file of {archive_bytes}")


def chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member in pieces, no more than it claims to have; its end is compared with its checksum.

    Raises one of DAMAGED.
    """
    left = member.file_size
    with archive.open(member) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
    if left:
        raise ValueError(f"member {member.filename} is cut short")


def _is_odd(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ".." in name.split("/")
