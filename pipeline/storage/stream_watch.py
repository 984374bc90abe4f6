"""One stream under watch: each look at its base path says which versions are to be aspired, if that can be said."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pipeline.clock import Clock
from pipeline.errors import PathRefused
from pipeline.records import AspiredVersion
from pipeline.storage import manifest
from pipeline.storage.base_path import BasePath
from pipeline.storage.completeness import (
    CompleteWhen,
    Completion,
    Sighting,
    digest_of,
    due_in_s,
    has_content,
    sight,
    stamp_of,
)
from pipeline.storage.folder import FileStamp, Fingerprint, Folder
from pipeline.storage.versions import Specific, choose, sort_children

logger = logging.getLogger(__name__)

Versions = tuple[AspiredVersion, ...]

_MAX_WARNED: Final = 10_000


@dataclass(frozen=True)
class Look:
    """What one look found: the set to aspire to, None where nothing may change.

    ``due_s`` is in how many seconds a version may be complete though nothing changes any more, None: none will.
    """

    versions: Versions | None
    due_s: float | None


class StreamWatch:
    """What is remembered of one base path. ``look`` is for one thread at a time; ``base`` may be replaced meanwhile."""

    def __init__(self, base: BasePath, folder: Folder, clock: Clock) -> None:
        self.base = base
        self.folder = folder
        self._clock = clock
        self._sightings: dict[str, Sighting] = {}
        self._warned: set[str] = set()
        self._failed: str | None = None

    def look(self) -> Look:
        """Look at the base path once. Blocks on the storage; logs what is wrong, once each, and never raises."""
        base = self.base
        versions = None
        try:
            versions = self._look(base)
            if self._failed is not None:
                logger.info("servable stream %s: its base path %s can be read again", base.stream, base.path)
            self._failed = None
        except OSError as error:
            self._fail(base, _trouble(base.path, error))
        except Exception:
            logger.exception("servable stream %s was not looked at", base.stream)
        return Look(versions, self._due_s(base))

    def warn_once(self, what: str, reason: str) -> None:
        """Log a surprise the first time."""
        message = f"{what}: {reason}"
        if len(self._warned) >= _MAX_WARNED:  # names that change all the time
            self._warned.clear()
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("servable stream %s ignores %s", self.base.stream, message)

    def _fail(self, base: BasePath, reason: str) -> None:
        if self._failed != reason:
            logger.warning("servable stream %s: %s; nothing changes", base.stream, reason)
        self._failed = reason

    def _look(self, base: BasePath) -> Versions | None:
        children, refused = sort_children(self.folder.children())
        for name, reason in refused.items():
            self.warn_once(repr(name), reason)
        self._see(base.completion, children.values())
        complete = [version for version, name in children.items() if self._is_complete(name)]
        chosen = choose(complete, base.policy)
        if isinstance(base.policy, Specific):
            for version in set(base.policy.versions).difference(children):
                self.warn_once(f"version {version}", "it is configured, and not there")
            if not base.policy.versions:
                self.warn_once("all versions", "the settings list no specific one")
        elif not chosen and base.keep_last:
            return None
        is_unfinished = any(has_content(sighting.fingerprint) for sighting in self._sightings.values())
        if not chosen and is_unfinished and not complete:
            return None
        sightings = {version: self._sightings[children[version]] for version in chosen}
        return tuple(AspiredVersion(version, seen.path, seen.digest) for version, seen in sightings.items())

    def _see(self, completion: Completion, names: Iterable[str]) -> None:
        before, self._sightings = self._sightings, {}
        for name in names:
            try:
                fingerprint, now_s = self.folder.fingerprint(name), self._clock.monotonic_s()
                sighting = sight(before.get(name), self.folder.path_of(name), fingerprint, now_s)
                if due_in_s(sighting, completion, now_s) == 0:
                    sighting = self._examine(name, sighting, completion)
                self._sightings[name] = sighting
                self._report_misfit(name, sighting, completion)
            except PathRefused as error:
                self.warn_once(repr(name), str(error))
            except OSError as error:
                self.warn_once(repr(name), str(error))
                if name in before:
                    self._sightings[name] = before[name]

    def _examine(self, name: str, sighting: Sighting, completion: Completion) -> Sighting:
        """Read what is not known yet; whatever is written to meanwhile is read again at the next look."""
        began_s = self._clock.monotonic_s()
        fingerprint = sighting.fingerprint
        listed, reason = self._listed(name, fingerprint, completion)
        hashes: dict[FileStamp, str] = {}
        if reason is None:
            for stamp in fingerprint:
                if stamp.is_content or stamp.name in listed:
                    hashes[stamp] = sighting.hashes.get(stamp) or self.folder.hash_of(name, stamp)
            reason = self._differing(hashes, listed, completion)
        took_s = self._clock.monotonic_s() - began_s
        if self.folder.fingerprint(name) != fingerprint:
            return replace(sighting, hashes={**sighting.hashes, **hashes}, took_s=took_s)
        seen = replace(sighting, is_examined=True, hashes=hashes, reason=reason, took_s=took_s)
        if reason is not None:
            return seen
        seal = stamp_of(fingerprint, completion.file) if completion.file else None
        return replace(seen, digest=digest_of(fingerprint, hashes), sealed_by=seal)

    def _listed(
        self, name: str, fingerprint: Fingerprint, completion: Completion
    ) -> tuple[Mapping[str, str], str | None]:
        """Return what the manifest lists, if there is one to be, and why the files can not fit it."""
        if completion.when is not CompleteWhen.MANIFEST:
            return {}, None
        try:
            listed = manifest.parse(self.folder.read(name, completion.file, manifest.LIMIT_BYTES))
        except ValueError as error:
            return {}, f"{completion.file}: {error}"
        missing = manifest.missing_from(fingerprint, listed)
        if missing:
            return listed, f"{completion.file} lists {missing[0]!r}, which is not there ({len(missing)} such files)"
        return listed, None

    def _differing(
        self, hashes: Mapping[FileStamp, str], listed: Mapping[str, str], completion: Completion
    ) -> str | None:
        if not self.folder.has_sha256:  # whoever downloads the files compares them
            return None
        differing = manifest.differing({stamp.name: found for stamp, found in hashes.items()}, listed)
        if not differing:
            return None
        return f"{differing[0]!r} has another SHA-256 than {completion.file} says ({len(differing)} such files)"

    def _report_misfit(self, name: str, sighting: Sighting, completion: Completion) -> None:
        # A copy in progress does not fit either: only what stands still is worth a word.
        is_resting = self._clock.monotonic_s() - sighting.since_s >= completion.quiet_period_s
        if sighting.reason is not None and is_resting:
            self.warn_once(repr(name), sighting.reason)

    def _is_complete(self, name: str) -> bool:
        sighting = self._sightings.get(name)
        return sighting is not None and sighting.is_complete

    def _due_s(self, base: BasePath) -> float | None:
        now_s = self._clock.monotonic_s()
        due = [due_in_s(sighting, base.completion, now_s) for sighting in self._sightings.values()]
        return min((seconds for seconds in due if seconds is not None), default=None)


def _trouble(path: str, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return f"its base path {path} does not exist; it is waited for"
        case NotADirectoryError():
            return f"its base path {path} is not a directory: the versions are its children"
    return f"its base path {path} can not be read: {error}"
