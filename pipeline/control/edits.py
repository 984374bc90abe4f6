"""What a person can do to a stream: from the record that stands to the one record that replaces it. All of it pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.records import AspiredVersion, AspiredVersions

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edit(msgspec.Struct, frozen=True):
    """The record to publish, and those of its versions that the edit is about.

    Where a source merges the record with what it has found, the edit lives on in the merged record as long as
    ``is_kept_by`` says so.
    """

    record: AspiredVersions
    about: frozenset[int] = frozenset()

    def is_kept_by(self, newer: AspiredVersions) -> bool:
        """Whether a later record of another publisher still does what was asked for."""
        if newer.pinned != self.record.pinned or not self.record.labels.items() <= newer.labels.items():
            return False
        if self.record.pinned:
            return _chosen(newer, None) == _chosen(self.record, None)
        return _chosen(self.record, self.about) <= _chosen(newer, self.about)

    def unanswered_labels(self) -> list[str]:
        """Return the labels whose version is not aspired: requests that name them get an error."""
        aspired = {version.version for version in self.record.versions}
        return sorted(label for label, version in self.record.labels.items() if version not in aspired)


def promote(standing: AspiredVersions, version: AspiredVersion, label: str) -> Edit:
    """Move a label to a version, and have that version aspired, in one step."""
    versions = _with(standing.versions, [version])
    return Edit(_change(standing, versions, {**standing.labels, label: version.version}), frozenset({version.version}))


def unlabel(standing: AspiredVersions, label: str) -> Edit:
    """Take a label away. Raises InvalidSettings where there is none."""
    if label not in standing.labels:
        known = ", ".join(sorted(standing.labels)) or "none"
        raise InvalidSettings(f"label {label}", f"stream {standing.stream} has no such label; it has {known}")
    return Edit(_change(standing, standing.versions, {k: v for k, v in standing.labels.items() if k != label}))


def pin(standing: AspiredVersions, versions: Iterable[AspiredVersion]) -> Edit:
    """Aspire to exactly these versions, whatever sources find."""
    chosen = _with((), versions)
    return Edit(_change(standing, chosen, pinned=True), frozenset(version.version for version in chosen))


def unpin(standing: AspiredVersions, labelled: Iterable[AspiredVersion] = ()) -> Edit:
    """Leave the stream to its sources again, with the versions that have labels, which they do not take away."""
    return Edit(_change(standing, _with(labelled, standing.versions), pinned=False))


def rollback(standing: AspiredVersions, target: AspiredVersion) -> Edit:
    """Go back to a lower version: those above it leave with their labels, those below it stay, all of it pinned."""
    versions = _with([version for version in standing.versions if version.version < target.version], [target])
    labels = {label: min(version, target.version) for label, version in standing.labels.items()}
    return Edit(_change(standing, versions, labels, pinned=True), frozenset({target.version}))


def unload(standing: AspiredVersions, version: int | None) -> Edit:
    """Aspire to no version, or no longer to one of them, whatever sources find."""
    _require(standing, version)
    kept = () if version is None else [other for other in standing.versions if other.version != version]
    return Edit(_change(standing, kept, pinned=True))


def reload(standing: AspiredVersions, version: int | None) -> Edit:
    """Have the same content loaded anew: of one version, or of all that are aspired."""
    _require(standing, version)
    versions = [
        msgspec.structs.replace(other, revision=other.revision + 1) if version in (None, other.version) else other
        for other in standing.versions
    ]
    about = {other.version for other in standing.versions if version in (None, other.version)}
    return Edit(_change(standing, versions), frozenset(about))


def _require(standing: AspiredVersions, version: int | None) -> None:
    aspired = [other.version for other in standing.versions]
    if version is not None and version not in aspired:
        numbers = ", ".join(map(str, sorted(aspired))) or "none"
        raise InvalidSettings(f"version {version}", f"it is not aspired; of stream {standing.stream} are: {numbers}")


def _change(
    standing: AspiredVersions,
    versions: Iterable[AspiredVersion],
    labels: dict[str, int] | None = None,
    *,
    pinned: bool | None = None,
) -> AspiredVersions:
    return AspiredVersions(
        standing.stream,
        tuple(sorted(versions, key=lambda version: version.version)),
        standing.kind,
        standing.labels if labels is None else labels,
        standing.pinned if pinned is None else pinned,
    )


def _with(versions: Iterable[AspiredVersion], added: Iterable[AspiredVersion]) -> list[AspiredVersion]:
    return list({version.version: version for version in (*versions, *added)}.values())


def _chosen(record: AspiredVersions, numbers: frozenset[int] | None) -> set[tuple[int, int]]:
    return {(it.version, it.revision) for it in record.versions if numbers is None or it.version in numbers}
