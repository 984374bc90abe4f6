"""Where the content of a version lies that is not aspired now: what workers have reported, else the base path."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pipeline.control.rows import was_available
from pipeline.errors import InvalidSettings, MissingExtra, PathRefused
from pipeline.records import AspiredVersion
from pipeline.storage import roots
from pipeline.storage.completeness import digest_of
from pipeline.storage.local_folder import LocalFolder
from pipeline.storage.object_folder import ObjectFolder
from pipeline.storage.versions import sort_children

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.records import AspiredVersions, ServableState
    from pipeline.storage.folder import Folder


class KnownVersions:
    """The versions of one stream that are known: aspired now, reported by any worker, or lying in the base path.

    Asked in this order. ``base_path`` is None where it is not known here; looking into it blocks on the storage.
    """

    def __init__(self, standing: AspiredVersions, states: Iterable[ServableState], base_path: str | None) -> None:
        self._stream, self._labels = standing.stream, standing.labels
        self._aspired = {version.version: version for version in standing.versions}
        rows = sorted((s for s in states if s.stream == standing.stream and s.path), key=lambda row: row.at_ms)
        self._reported = {row.version: AspiredVersion(row.version, row.path or "", row.digest) for row in rows}
        self._served = {row.version for row in rows if was_available(row)}
        self._base_path = base_path

    def find(self, version: int) -> AspiredVersion:
        """Return a version by its number; raises InvalidSettings, which says where it was looked for."""
        known = self._aspired.get(version) or self._reported.get(version) or self._stored(version)
        if known is None:
            where = f"nor found in {self._base_path}" if self._base_path else "and no settings name its base path here"
            raise InvalidSettings(
                f"version {version}",
                f"of stream {self._stream} it is neither aspired nor reported by a worker, {where}; see what is known "
                f"with: penstock versions show {self._stream} --all",
            )
        return known

    def labelled(self) -> list[AspiredVersion]:
        """Return those versions that have a label and are known."""
        found = []
        for number in sorted(set(self._labels.values())):
            with contextlib.suppress(InvalidSettings):
                found.append(self.find(number))
        return found

    def before(self) -> int:
        """Return the highest version below the highest aspired one that has served; failing that, one that is stored.

        Raises InvalidSettings where there is none.
        """
        highest = max(self._aspired, default=None)
        if highest is None:
            raise InvalidSettings(f"stream {self._stream}", "no version is aspired; name one with --to")
        seen = self._children()
        for numbers in (self._served, {} if seen is None else seen[1]):
            lower = [number for number in numbers if number < highest]
            if lower:
                return max(lower)
        raise InvalidSettings(
            f"stream {self._stream}", f"no version below {highest} is known to have served; name one with --to"
        )

    def _children(self) -> tuple[Folder, dict[int, str]] | None:
        """Return the base path and the names of its versions, None where it can not be looked into from here."""
        if self._base_path is None:
            return None
        is_uri = roots.is_uri(self._base_path)
        folder: Folder = ObjectFolder(self._base_path) if is_uri else LocalFolder(self._base_path)
        try:
            return folder, dict(sort_children(folder.children())[0])
        except (OSError, MissingExtra):
            return None

    def _stored(self, version: int) -> AspiredVersion | None:
        seen = self._children()
        if seen is None or version not in seen[1]:
            return None
        folder, name = seen[0], seen[1][version]
        try:
            fingerprint = folder.fingerprint(name)
            hashes = {stamp: folder.hash_of(name, stamp) for stamp in fingerprint if stamp.is_content}
        except (OSError, PathRefused) as error:
            raise InvalidSettings(f"version {version} of stream {self._stream}", str(error)) from error
        return AspiredVersion(version, folder.path_of(name), digest_of(fingerprint, hashes))
