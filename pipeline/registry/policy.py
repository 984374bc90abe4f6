"""How a stream moves from what is loaded to what is aspired: pure functions, one snapshot in, one action out."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Phase(enum.Enum):
    """Where the manager stands with one version; finer than the State that is published."""

    WAITING = "waiting for its old incarnation to end"
    NEW = "accepted, nothing done"
    QUEUED = "load requested"
    LOADING = "loading"
    RETRYING = "waiting for the next try to load"
    CANCELLING = "no longer aspired, its load is still running"
    READY = "available"
    UNLOADING = "refusing handles, draining or unloading"
    FAILED = "ended with an error"


@dataclass(frozen=True)
class VersionSnapshot:
    """One version as a policy sees it. ``is_labelled``: a label answers with it until the version it moves to is up."""

    version: int
    phase: Phase
    is_aspired: bool
    is_labelled: bool = False


class Verb(enum.Enum):
    """What a policy may ask for."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Action:
    """The next thing to do for a stream."""

    verb: Verb
    version: int


# Called again after each action until it returns None; may see the versions in any order.
Policy = Callable[[Sequence[VersionSnapshot]], Action | None]


def availability_preserving(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Choose the next action such that some version keeps answering; None when nothing is to be done.

    Old versions go when an aspired one is available, or when nothing is aspired; of several old ones all but the
    highest go at once. One that a label still answers with stays until the label has moved. For a while old and new
    are resident together.
    """
    stale = [v for v in stream if v.phase is Phase.READY and not v.is_aspired]
    if not any(v.is_aspired for v in stream):
        leaving = stale
    elif any(v.is_aspired and v.phase is Phase.READY for v in stream):
        leaving = [v for v in stale if not v.is_labelled]
    else:
        highest = max((v.version for v in stale), default=-1)
        leaving = [v for v in stale if not v.is_labelled and v.version != highest]
    if leaving:
        return Action(Verb.UNLOAD, min(v.version for v in leaving))
    return _load_highest(stream)


def resource_preserving(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Choose the next action such that old and new are never resident together; None when nothing is to be done.

    All that is not aspired goes first, the aspired are loaded when it has gone; nothing answers in between.
    """
    stale = [v for v in stream if not v.is_aspired]
    leaving = [v.version for v in stale if v.phase is Phase.READY]
    if leaving:
        return Action(Verb.UNLOAD, min(leaving))
    if any(v.phase is not Phase.FAILED for v in stale):
        return None
    return _load_highest(stream)


def _load_highest(stream: Sequence[VersionSnapshot]) -> Action | None:
    new = [v.version for v in stream if v.is_aspired and v.phase is Phase.NEW]
    return Action(Verb.LOAD, max(new)) if new else None
