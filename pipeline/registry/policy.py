"""How a stream moves from what is loaded to what is aspired: pure functions, one snapshot in, one action out."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


class Phase(enum.Enum):
    """Where the manager stands with one version; finer than the State that is published."""

    WAITING = "waiting for its old incarnation to end"
    NEW = "accepted, nothing done"
    QUEUED = "load requested"
    DEFERRED = "waiting for memory"
    LOADING = "loading"
    RETRYING = "waiting for the next try to load"
    CANCELLING = "no longer aspired, its load is still running"
    READY = "available"
    UNLOADING = "refusing handles, draining or unloading"
    FAILED = "ended with an error"


@dataclass(frozen=True)
class VersionSnapshot:
    """One incarnation of one version as a policy sees it.

    Two of one version are there while new content is loaded beside the old. ``is_labelled``: a label answers with this
    version until the one that it moves to is up.
    """

    version: int
    phase: Phase
    is_aspired: bool
    is_labelled: bool = False
    incarnation: int = 1


class Verb(enum.Enum):
    """What a policy may ask for."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Action:
    """The next thing to do for a stream."""

    verb: Verb
    version: int
    incarnation: int = 1


# Called again after each action until it returns None; may see the versions in any order.
Policy = Callable[[Sequence[VersionSnapshot]], Action | None]


def availability_preserving(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Choose the next action such that some version keeps answering; None when nothing is to be done.

    Old versions go when an aspired one is available, or when nothing is aspired; of several old ones all but the
    highest go at once. One that a label still answers with stays until the label has moved, and one whose own number is
    loaded anew until that has succeeded. For a while old and new are resident together.
    """
    stale = [v for v in stream if v.phase is Phase.READY and not v.is_aspired]
    if any(v.is_aspired for v in stream):
        replaced = {v.version for v in stream if v.is_aspired and v.phase is not Phase.READY}
        stale = [v for v in stale if not v.is_labelled and v.version not in replaced]
        if not any(v.is_aspired and v.phase is Phase.READY for v in stream):
            highest = max((v.version for v in stream if v.phase is Phase.READY), default=-1)
            stale = [v for v in stale if v.version != highest]
    return _unload_lowest(stale) or _load_highest(stream)


def resource_preserving(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Choose the next action such that old and new are never resident together; None when nothing is to be done.

    All that is not aspired goes first, the aspired are loaded when it has gone; nothing answers in between.
    """
    stale = [v for v in stream if not v.is_aspired]
    leaving = _unload_lowest(v for v in stale if v.phase is Phase.READY)
    if leaving is not None:
        return leaving
    if any(v.phase is not Phase.FAILED for v in stale):
        return None
    return _load_highest(stream)


def _unload_lowest(leaving: Iterable[VersionSnapshot]) -> Action | None:
    lowest = min(leaving, key=lambda v: (v.version, v.incarnation), default=None)
    return None if lowest is None else Action(Verb.UNLOAD, lowest.version, lowest.incarnation)


def _load_highest(stream: Sequence[VersionSnapshot]) -> Action | None:
    new = (v for v in stream if v.is_aspired and v.phase is Phase.NEW)
    highest = max(new, key=lambda v: (v.version, v.incarnation), default=None)
    return None if highest is None else Action(Verb.LOAD, highest.version, highest.incarnation)
