"""Which children of a base path are versions, and which of the versions are aspired: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline import settings as settings_module

HIGHEST_VERSION: Final = 2**63 - 1
# What a lenient parser would take for a number, and we do not: signs, blanks, digits of other scripts.
_ALMOST: Final = re.compile(r"\s*[+-]?\d+\s*")


@dataclass(frozen=True)
class Latest:
    """The ``count`` highest versions."""

    count: int = 1


@dataclass(frozen=True)
class All:
    """Every version."""


@dataclass(frozen=True)
class Specific:
    """Exactly these versions, as far as they exist."""

    versions: tuple[int, ...]


VersionPolicy = Latest | All | Specific


def choose(versions_seen: Iterable[int], policy: VersionPolicy) -> tuple[int, ...]:
    """Return the versions that shall be aspired, ascending. ``Latest(0)`` counts as ``Latest(1)``."""
    seen = sorted(set(versions_seen))
    match policy:
        case All():
            return tuple(seen)
        case Latest(count):
            return tuple(seen[-max(count, 1) :])
        case Specific(versions):
            return tuple(version for version in seen if version in versions)


def policy_of(settings: settings_module.VersionPolicy) -> VersionPolicy:
    """Return the policy that the settings of a stream name; a list of versions counts before ``all`` and ``latest``."""
    if settings.specific is not None:
        return Specific(settings.specific)
    return All() if settings.all else Latest(settings.latest)


def parse_version(name: str) -> int | None:
    """Return the number that a directory name is, None where it is none.

    ASCII digits only, leading zeros allowed, at most 2^63 - 1: no sign, no blank, no exponent, no underscore.
    """
    if not (name.isascii() and name.isdigit()):
        return None
    digits = name.lstrip("0")
    if len(digits) > 19:  # Python refuses to read numbers of thousands of digits
        return None
    version = int(digits or "0")
    return version if version <= HIGHEST_VERSION else None


def sort_children(names: Iterable[str]) -> tuple[Mapping[int, str], Mapping[str, str]]:
    """Return the name of each version, and for each child that is surprisingly none the reason.

    Of two spellings of one number the canonical one is taken (``7`` before ``07``), else the first in the alphabet.
    """
    chosen: dict[int, str] = {}
    refused: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name.startswith("0") and len(name) > 1, name)):
        version = parse_version(name)
        if version is None:
            if _ALMOST.fullmatch(name):
                refused[name] = f"only plain digits up to {HIGHEST_VERSION} are a version"
        elif version in chosen:
            refused[name] = f"version {version} is taken from {chosen[version]!r}"
        else:
            chosen[version] = name
    return chosen, refused
