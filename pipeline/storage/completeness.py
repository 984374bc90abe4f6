"""Whether a version has been copied completely, and which content it has: pure functions over what was seen of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.storage.folder import FileStamp, Fingerprint


class CompleteWhen(StrEnum):
    """What makes a version complete."""

    QUIET = "quiet"
    MARKER = "marker"
    MANIFEST = "manifest"


@dataclass(frozen=True)
class Completion:
    """When the versions of one stream are complete. ``file`` is the marker's or manifest's name."""

    when: CompleteWhen = CompleteWhen.QUIET
    file: str = ""
    quiet_period_s: float = 0.5


@dataclass(frozen=True)
class Sighting:
    """What is known of one version: how its files look now, since when, and the last complete content.

    ``sealed_by`` is the marker's stamp under which that content was read. ``reason`` says why the present files are
    refused, ``took_s`` how long their reading took.
    """

    path: str
    fingerprint: Fingerprint
    since_s: float
    is_examined: bool = False
    digest: str | None = None
    hashes: Mapping[FileStamp, str] = field(default_factory=dict)
    sealed_by: FileStamp | None = None
    reason: str | None = None
    took_s: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether a complete content is known, be it the one before the present files."""
        return self.digest is not None


def has_content(fingerprint: Fingerprint) -> bool:
    """Whether at least one file of the version is not empty."""
    return any(stamp.is_content and stamp.size_bytes > 0 for stamp in fingerprint)


def stamp_of(fingerprint: Fingerprint, name: str) -> FileStamp | None:
    """Return the stamp of one file, None where it is not there."""
    return next((stamp for stamp in fingerprint if stamp.name == name), None)


def sight(before: Sighting | None, path: str, fingerprint: Fingerprint, now_s: float) -> Sighting:
    """Return what is known after another look. While files change, the last complete content remains."""
    if before is None or before.path != path or not has_content(fingerprint):
        return Sighting(path, fingerprint, now_s)
    if before.fingerprint == fingerprint:
        return before
    return replace(before, fingerprint=fingerprint, since_s=now_s, is_examined=False, reason=None)


def due_in_s(sighting: Sighting, completion: Completion, now_s: float) -> float | None:
    """Return in how many seconds the files should be read (0: now), None: not before something changes.

    A marker or a manifest is not waited behind: the files are read as soon as it is there. But content that changes
    under a marker that stays must stand still for the quiet period, and after a manifest did not fit, for as long as
    it took to find out, so that a copy in progress is not read over and over.
    """
    if sighting.is_examined or not has_content(sighting.fingerprint):
        return None
    rest_s = completion.quiet_period_s
    if completion.when is not CompleteWhen.QUIET:
        seal = stamp_of(sighting.fingerprint, completion.file)
        if seal is None:
            return None
        if completion.when is CompleteWhen.MANIFEST:
            rest_s = min(sighting.took_s, rest_s)
        elif seal != sighting.sealed_by:
            rest_s = 0.0
    return max(0.0, sighting.since_s + rest_s - now_s)


def digest_of(fingerprint: Fingerprint, hashes: Mapping[FileStamp, str]) -> str:
    """Return ``sha256:<hex>`` over names, sizes and hashes of the version's files."""
    digest = hashlib.sha256()
    for stamp in fingerprint:
        if stamp.is_content:
            for text in (os.fsencode(stamp.name), hashes[stamp].encode()):
                digest.update(len(text).to_bytes(4, "little") + text)
            digest.update(stamp.size_bytes.to_bytes(8, "little"))
    return f"sha256:{digest.hexdigest()}"
