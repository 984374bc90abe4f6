"""What one stream can answer with at one moment: immutable, swapped as a whole, read without a lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.errors import NotReady, UnknownLabel, UnknownVersion
from pipeline.registry.harness import Harness
from pipeline.registry.policy import Phase

_ON_THE_WAY = (Phase.WAITING, Phase.NEW, Phase.QUEUED, Phase.DEFERRED, Phase.LOADING, Phase.RETRYING)


@dataclass(frozen=True)
class StreamSnapshot:
    """The available versions of one stream, its labels, and what stands about the others.

    ``labels`` is where each label answers now, which may be an older version than it was last set to: a label moves
    when its new version is available. ``coming`` are the aspired versions that may still become available.
    ``generation`` is that of the last aspiration that was taken up, ``notes`` what a person should know about it.
    """

    name: str
    ready: Mapping[int, Harness] = field(default_factory=dict)
    latest: Harness | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    coming: frozenset[int] = frozenset()
    states: tuple[str, ...] = ()
    is_forgotten: bool = False
    generation: int = -1
    notes: tuple[str, ...] = ()

    @property
    def available(self) -> tuple[int, ...]:
        """The versions that handles can be taken on, ascending."""
        return tuple(sorted(self.ready))

    def find(self, version: int | None, label: str | None) -> Harness:
        """Return what answers: the version, else the label's, else the latest. A version outranks a label.

        Raises UnknownLabel, UnknownVersion, or NotReady where the version is on its way or none is available.
        """
        if version is None and label is not None:
            version = self.labels.get(label)
            if version is None:
                raise UnknownLabel(self.name, label, tuple(sorted(self.labels)))
        if version is None:
            if self.latest is None:
                raise NotReady(self.name, self.states)
            return self.latest
        harness = self.ready.get(version)
        if harness is not None:
            return harness
        if version in self.coming:
            raise NotReady(self.name, self.states)
        raise UnknownVersion(self.name, version, self.available)


def take_snapshot(
    name: str,
    harnesses: Iterable[Harness],
    waiting: Iterable[int],
    labels: Mapping[str, int],
    *,
    is_forgotten: bool,
    generation: int,
    notes: tuple[str, ...],
) -> StreamSnapshot:
    """Return the snapshot of a stream; ``waiting`` are aspired versions whose old incarnation has not ended yet.

    The latest is the highest available version that is aspired, and where none of the aspired is available, the
    highest that still is. Of two incarnations that are available the newer one answers.
    """
    harnesses = sorted(harnesses, key=lambda harness: (harness.id, harness.incarnation))
    ready = {h.id.version: h for h in harnesses if h.phase is Phase.READY}
    coming = {h.id.version for h in harnesses if h.is_aspired and h.phase in _ON_THE_WAY}
    return StreamSnapshot(
        name=name,
        ready=ready,
        latest=max(ready.values(), key=lambda h: (h.is_aspired, h.id.version), default=None),
        labels=labels,
        coming=frozenset(coming.union(waiting)),
        states=tuple(h.describe() for h in harnesses),
        is_forgotten=is_forgotten,
        generation=generation,
        notes=notes,
    )


def move_labels(
    wanted: Mapping[str, int], now: Mapping[str, int], ready: Mapping[int, object], aspired: Iterable[int]
) -> dict[str, int]:
    """Return where each wanted label answers: its version once that is ready, until then where it has answered.

    Pure. A label stays behind only for an aspired version; one that is set to anything else goes there at once.
    """
    moved = {}
    for label, version in wanted.items():
        before = now.get(label)
        stays = version not in ready and version in aspired and before in ready
        moved[label] = before if stays and before is not None else version
    return moved
