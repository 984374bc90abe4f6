"""A manifest lists the files of a version with their SHA-256, as ``sha256sum`` writes it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pipeline.storage.folder import Fingerprint

LIMIT_BYTES: Final = 16 << 20
_LINE: Final = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def parse(data: bytes) -> dict[str, str]:
    """Return the SHA-256 (hex, lower case) of each file that a manifest lists; empty lines and ``#`` lines are skipped.

    Raises ValueError, which names the line: it is not ``<64 hex digits>  <name>``, or the name leads out of the
    version, or stands there twice with different digests; or nothing is listed.
    """
    listed: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        text = line.removesuffix("\r")
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"line {number} is not a SHA-256 and a name, as sha256sum writes them: {text[:100]!r}")
        name = _name(match[3], is_escaped=bool(match[1]))
        if name is None:
            raise ValueError(f"line {number} names {match[3][:100]!r}, which is not inside the version")
        if listed.setdefault(name, match[2].lower()) != match[2].lower():
            raise ValueError(f"line {number} names {name!r} again, with another SHA-256")
    if not listed:
        raise ValueError("it lists no file")
    return listed


def missing_from(fingerprint: Fingerprint, listed: Mapping[str, str]) -> list[str]:
    """Return the listed files that are not there, sorted."""
    return sorted(set(listed).difference(stamp.name for stamp in fingerprint))


def differing(hashes: Mapping[str, str], listed: Mapping[str, str]) -> list[str]:
    """Return the files whose SHA-256 is another than the listed one, sorted; those without a known one are not."""
    return sorted(name for name, expected in listed.items() if name in hashes and hashes[name] != expected)


def _name(written: str, *, is_escaped: bool) -> str | None:
    name = re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), written) if is_escaped else written
    parts = [part for part in name.split("/") if part != "."]
    is_inside = bool(parts) and "\0" not in name and not any(part in ("", "..") for part in parts)
    return "/".join(parts) if is_inside else None
