"""Where the content of a version lies that is not aspired now: what workers have reported, else the base path."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.control.rows import was_available
from pipeline.errors import InvalidSettings, PathRefused
from pipeline.records import AspiredVersion
from pipeline.storage.completeness import digest_of, take_fingerprint
from pipeline.storage.versions import sort_children

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.records import AspiredVersions, ServableState


class KnownVersions:
    """The versions of one stream that are known: aspired now, reported by any worker, or lying in the base path.

    Asked in this order. ``base_path`` is None where it is not known here; looking into it blocks on the file system.
    """

    def __init__(self, standing: AspiredVersions, states: Iterable[ServableState], base_path: str | None) -> None:
        self._stream, self._labels = standing.stream, standing.labels
        self._aspired = {version.version: version for version in standing.versions}
        rows = sorted((s for s in states if s.stream == standing.stream and s.path), key=lambda row: row.at_ms)
        self._reported = {row.version: AspiredVersion(row.version, row.path or "", row.digest) for row in rows}
        self._served = {row.version for row in rows if was_available(row)}
        self._base_path = None if base_path is None else Path(base_path)

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
        for numbers in (self._served, self._children()):
            lower = [number for number in numbers if number < highest]
            if lower:
                return max(lower)
        raise InvalidSettings(
            f"stream {self._stream}", f"no version below {highest} is known to have served; name one with --to"
        )

    def _children(self) -> dict[int, str]:
        if self._base_path is None or not self._base_path.is_dir():
            return {}
        return dict(sort_children(child.name for child in self._base_path.iterdir())[0])

    def _stored(self, version: int) -> AspiredVersion | None:
        name = self._children().get(version)
        if name is None or self._base_path is None:
            return None
        path = self._base_path / name
        try:
            return AspiredVersion(version, str(path), digest_of(path, take_fingerprint(path, self._base_path)))
        except (OSError, PathRefused) as error:
            raise InvalidSettings(f"version {version} of stream {self._stream}", str(error)) from error
