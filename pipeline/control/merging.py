"""What a source publishes, given what stands: a person's pins and labels outlive whatever is found. All of it pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.records import AspiredVersion, AspiredVersions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A version's number, and its digest or else its path.
Content = tuple[int, str]
Numbered = dict[int, AspiredVersion]


class Halt(msgspec.Struct, frozen=True):
    """What the watch gate says about a stream: contents that shall not be aspired, and what can stand in for them.

    ``served_before`` are the versions that served when the first of the vetoed ones came, ``served_ever`` all that did
    and are still known.
    """

    vetoed: frozenset[Content] = frozenset()
    served_before: tuple[AspiredVersion, ...] = ()
    served_ever: tuple[AspiredVersion, ...] = ()


NO_HALT: Final = Halt()


def content_of(version: AspiredVersion) -> Content:
    """Return what tells two contents of one version number apart."""
    return version.version, version.digest or version.path


def merge(standing: AspiredVersions | None, found: AspiredVersions, halt: Halt = NO_HALT) -> AspiredVersions | None:
    """Return the record to publish for what a source has found, None where nothing is to be published.

    A pinned record stands. Labels are kept, but for those that the source sets itself, and labelled versions stay
    aspired besides those that were found. A version keeps its revision. Vetoed contents are left out, and what served
    before takes their places and their labels; where nothing would be left nothing is vetoed, because a version that
    answers somewhere is better than none anywhere.
    """
    if standing is None:
        standing = msgspec.structs.replace(found, versions=())
        is_first = True
    elif standing.pinned:
        return None
    else:
        is_first = False
    before = {version.version: version for version in standing.versions}
    labels = {**standing.labels, **found.labels}
    wanted = {version.version: version for version in found.versions}
    labelled = {number: before[number] for number in labels.values() if number in before and number not in wanted}
    chosen = _allowed(wanted, labelled, before, halt) or labelled | wanted
    merged = msgspec.structs.replace(
        found,
        versions=tuple(_keep_revision(version, before) for _, version in sorted(chosen.items())),
        labels=_moved(labels, labelled | wanted, chosen),
        kind=found.kind or standing.kind,
        found=True,
    )
    return None if not is_first and is_equal(standing, merged) else merged


def is_equal(one: AspiredVersions, other: AspiredVersions) -> bool:
    """Whether both wish for the same, whoever published them and when."""
    return _wish(one) == _wish(other)


def is_same_content(one: AspiredVersions, other: AspiredVersions) -> bool:
    """Whether both wish for the same bytes: paths do not matter where digests are known."""
    return _wish(_without_paths(one)) == _wish(_without_paths(other))


def _allowed(wanted: Numbered, labelled: Numbered, before: Numbered, halt: Halt) -> Numbered:
    """Return what is wanted without what is vetoed: as many versions that served before stand in for that."""
    vetoed = {number for number, version in (labelled | wanted).items() if content_of(version) in halt.vetoed}
    if not vetoed:
        return labelled | wanted
    kept = {number: version for number, version in wanted.items() if number not in vetoed}
    missing = len(wanted) - len(kept)
    for pool in ((*halt.served_before, *before.values()), halt.served_ever):
        stand_ins = {
            version.version: version
            for version in pool
            if version.version < max(vetoed)
            and version.version not in kept.keys() | vetoed
            and content_of(version) not in halt.vetoed
        }
        kept |= {number: stand_ins[number] for number in sorted(stand_ins)[len(stand_ins) - missing :] if missing}
        if kept:
            break
    return {number: version for number, version in labelled.items() if number not in vetoed} | kept


def _moved(labels: Mapping[str, int], wanted: Numbered, chosen: Numbered) -> dict[str, int]:
    """Take labels along from what is vetoed to what stands in for it."""
    moved = {}
    for label, number in labels.items():
        if number in wanted and number not in chosen:
            lower = [other for other in chosen if other < number]
            moved[label] = max(lower or chosen)
        else:
            moved[label] = number
    return moved


def _keep_revision(version: AspiredVersion, before: Numbered) -> AspiredVersion:
    known = before.get(version.version)
    if known is None or known.revision <= version.revision:
        return version
    return msgspec.structs.replace(version, revision=known.revision)


def _wish(record: AspiredVersions) -> tuple[object, ...]:
    versions: Iterable[AspiredVersion] = sorted(record.versions, key=lambda version: version.version)
    return record.stream, tuple(versions), record.kind, dict(record.labels), record.pinned


def _without_paths(record: AspiredVersions) -> AspiredVersions:
    versions = tuple(
        msgspec.structs.replace(version, path="") if version.digest is not None else version
        for version in record.versions
    )
    return msgspec.structs.replace(record, versions=versions)
