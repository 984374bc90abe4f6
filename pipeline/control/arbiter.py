"""Decides what a source publishes, stream by stream, as records of its own and of others go by. Knows no broker."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.control.merging import NO_HALT, Halt, is_equal, is_same_content, merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.records import AspiredVersions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Record:
    """What was published at a generation; None is a tombstone."""

    generation: int = -1
    aspired: AspiredVersions | None = None


@dataclass
class _Stream:
    found: AspiredVersions | None = None
    asked: AspiredVersions | None = None
    """What was found when the record that is being published was made."""
    is_new: bool = False
    """Whether what was found has not been published, or found to stand, yet."""
    standing: _Record = _Record()
    before: _Record = _Record()
    """What stood before that."""
    overlooked: _Record | None = None
    """What another published just before a record of ours that was made without knowing it."""
    repaired: _Record | None = None
    """What was overlooked when the record that is being published was made, to make up for it."""
    own: int = -1
    seen: int = -1
    """The generations of our last record, and of what was known when it was made."""
    unread: set[int] = field(default_factory=set)
    """The generations of our records that have not come by yet."""
    replaced: list[AspiredVersions] = field(default_factory=list)
    """What others published and we replaced for the same find; said again, it stands."""


class Arbiter:
    """Usable from any thread. ``due`` says what to publish now; ``published`` must follow for each that was accepted.

    Others are replaced once: what another publisher says again after that stands until something new is found, so that
    two sources that disagree do not fight for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: defaultdict[str, _Stream] = defaultdict(_Stream)
        self._halts: Mapping[str, Halt] = {}
        self._unsure: set[str] = set()
        self._told: set[str] = set()

    def found(self, found: AspiredVersions) -> None:
        """Take what a source has found: the full set of a stream."""
        with self._lock:
            stream = self._streams[found.stream]
            stream.found, stream.is_new = found, True
            stream.replaced.clear()
            self._unsure.add(found.stream)

    def stands(self, name: str, aspired: AspiredVersions | None, generation: int) -> None:
        """Take what was published to the topic, by whomever."""
        with self._lock:
            stream, record = self._streams[name], _Record(generation, aspired)
            if generation in stream.unread:
                stream.unread.remove(generation)
                return
            if generation < stream.own:  # the log comes by in order: our record was made without knowing this one
                if stream.overlooked is None or not _is_a_sources(aspired):
                    stream.overlooked = record
            else:
                stream.before, stream.standing = stream.standing, record
                if not _is_a_sources(aspired):
                    stream.overlooked = None
                if aspired is None or aspired.pinned:
                    stream.replaced.clear()
            self._unsure.add(name)

    def halt(self, halts: Mapping[str, Halt]) -> None:
        """Take what the gate says of every stream now."""
        with self._lock:
            changed = {name for name in {*halts, *self._halts} if halts.get(name) != self._halts.get(name)}
            self._halts = halts
            self._unsure |= changed

    def due(self) -> list[AspiredVersions]:
        """Return what is to be published now. Those that are not ``published`` afterwards are returned again."""
        with self._lock:
            records = {name: self._decide(name, self._streams[name]) for name in sorted(self._unsure)}
            self._unsure = {name for name, record in records.items() if record is not None}
            return [record for record in records.values() if record is not None]

    def is_idle(self) -> bool:
        """Whether nothing is to be published that is known of."""
        with self._lock:
            return not self._unsure

    def published(self, record: AspiredVersions, generation: int) -> None:
        """Say that a record of ours has been accepted."""
        with self._lock:
            stream = self._streams[record.stream]
            self._unsure.add(record.stream)
            replaced = stream.standing
            if replaced.aspired is not None and replaced.generation != stream.own and not stream.is_new:
                stream.replaced.append(replaced.aspired)
            # The follower may have been faster than the acknowledgement, and have brought what came before and after.
            if stream.standing.generation < generation:
                stream.unread.add(generation)
            last = stream.before if stream.standing.generation == generation else stream.standing
            if stream.seen < last.generation < generation:
                stream.overlooked = last
            elif stream.repaired is stream.overlooked:
                stream.overlooked = None
            if last.generation <= generation:
                stream.before, stream.standing = last, _Record(generation, record)
            stream.own, stream.is_new = generation, stream.found is not stream.asked

    def _decide(self, name: str, stream: _Stream) -> AspiredVersions | None:
        if stream.found is None:
            return None
        record, repaired = None, stream.overlooked
        if repaired is not None:
            record = self._repair(name, stream, repaired.aspired, stream.found)
        if record is None:
            stream.overlooked = repaired = None
            record = self._merge(name, stream, stream.found)
        if record is not None:
            stream.seen, stream.asked, stream.repaired = stream.standing.generation, stream.found, repaired
        return record

    def _merge(self, name: str, stream: _Stream, found: AspiredVersions) -> AspiredVersions | None:
        standing = stream.standing.aspired
        merged = merge(standing, found, self._halts.get(name, NO_HALT))
        if merged is None:
            stream.is_new = False
            self._tell_pinned(found, standing)
            return None
        return merged if standing is None or stream.is_new or self._may_replace(stream, standing, merged) else None

    def _may_replace(self, stream: _Stream, standing: AspiredVersions, merged: AspiredVersions) -> bool:
        """Whether to replace what stands although nothing new was found."""
        if is_same_content(standing, merged):
            return False
        if stream.standing.generation == stream.own or not any(is_same_content(standing, it) for it in stream.replaced):
            return True
        insists = f"{standing.publisher} publishes other versions of {standing.stream} again and again"
        self._tell(f"{insists}; they stand until something new is found")
        return False

    def _repair(
        self, name: str, stream: _Stream, other: AspiredVersions | None, found: AspiredVersions
    ) -> AspiredVersions | None:
        """Return what would stand if our last record had been made in the knowledge of ``other``, which it replaced."""
        standing = stream.standing.aspired
        wanted = merge(other, found, self._halts.get(name, NO_HALT)) or other
        return None if wanted is None or (standing is not None and is_equal(standing, wanted)) else wanted

    def _tell_pinned(self, found: AspiredVersions, standing: AspiredVersions | None) -> None:
        if standing is not None and standing.pinned and not {*found.versions} <= {*standing.versions}:
            numbers = ", ".join(str(version.version) for version in found.versions)
            what = f"{found.stream} is pinned by {standing.publisher}: what was found ({numbers}) is not published"
            self._tell(f"{what} until: penstock versions unpin {found.stream}")

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.warning("%s", message)


def _is_a_sources(record: AspiredVersions | None) -> bool:
    """Whether a record is no person's word, so that what a person said before it and we overlooked still counts."""
    return record is not None and record.found
