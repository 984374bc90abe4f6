"""Which action the policies choose, from snapshots alone."""

from __future__ import annotations

import pytest

from pipeline.registry.policy import (
    Action,
    Phase,
    Verb,
    VersionSnapshot,
    availability_preserving,
    resource_preserving,
)
from pipeline.registry.snapshot import move_labels


def seen(*rows):
    return [VersionSnapshot(version, phase, aspired == "+", bool(rest)) for version, phase, aspired, *rest in rows]


def load(version):
    return Action(Verb.LOAD, version)


def unload(version):
    return Action(Verb.UNLOAD, version)


NEW, LOADING, READY, FAILED, UNLOADING, WAITING, CANCELLING = (
    Phase.NEW, Phase.LOADING, Phase.READY, Phase.FAILED, Phase.UNLOADING, Phase.WAITING, Phase.CANCELLING,
)  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "action"),
    [
        (seen(), None),
        (seen((1, NEW, "+"), (3, NEW, "+"), (2, NEW, "+")), load(3)),
        (seen((1, READY, "+"), (2, NEW, "+")), load(2)),
        (seen((1, READY, "-"), (2, READY, "+"), (3, NEW, "+")), unload(1)),
        (seen((2, READY, "-"), (1, READY, "-")), unload(1)),
        (seen((1, READY, "-")), unload(1)),
        (seen((1, READY, "+"), (2, UNLOADING, "-")), None),
        (seen((1, READY, "-"), (2, LOADING, "+")), None),
        (seen((1, READY, "-"), (2, FAILED, "+")), None),
        (seen((1, READY, "-"), (2, WAITING, "+")), None),
        (seen((1, READY, "-"), (2, READY, "+"), (3, LOADING, "+")), unload(1)),
        (seen((1, READY, "-"), (2, READY, "+"), (3, FAILED, "+")), unload(1)),
        (seen((1, READY, "-"), (2, READY, "-"), (3, NEW, "+")), unload(1)),
        (seen((1, READY, "-", "labelled"), (2, READY, "-"), (3, NEW, "+")), load(3)),
        (seen((1, READY, "-", "labelled"), (2, READY, "+")), None),
        (seen((1, READY, "-", "labelled")), unload(1)),
    ],
)
def test_availability_preserving_keeps_something_serving(stream, action):
    assert availability_preserving(stream) == action
    assert availability_preserving(stream[::-1]) == action


@pytest.mark.parametrize(
    ("stream", "action"),
    [
        (seen(), None),
        (seen((1, READY, "-"), (2, NEW, "+")), unload(1)),
        (seen((1, NEW, "+"), (2, NEW, "+")), load(2)),
        (seen((1, UNLOADING, "-"), (2, NEW, "+")), None),
        (seen((1, CANCELLING, "-"), (2, NEW, "+")), None),
        (seen((1, FAILED, "-"), (2, NEW, "+")), load(2)),
        (seen((1, FAILED, "-"), (3, UNLOADING, "-"), (2, NEW, "+")), None),
        (seen((1, READY, "+")), None),
    ],
)
def test_resource_preserving_unloads_everything_old_first(stream, action):
    assert resource_preserving(stream) == action
    assert resource_preserving(stream[::-1]) == action


@pytest.mark.parametrize(
    ("wanted", "now", "ready", "aspired", "moved"),
    [
        ({"s": 2}, {"s": 1}, {1, 2}, {1, 2}, {"s": 2}),
        ({"s": 2}, {"s": 1}, {1}, {2}, {"s": 1}),
        ({"s": 2}, {"s": 1}, set(), {2}, {"s": 2}),
        ({"s": 2}, {"s": 1}, {1}, {1}, {"s": 2}),
        ({"s": 2}, {}, {1}, {2}, {"s": 2}),
        ({}, {"s": 1}, {1}, {1}, {}),
    ],
)
def test_a_label_moves_when_its_version_is_ready(wanted, now, ready, aspired, moved):
    assert move_labels(wanted, now, dict.fromkeys(ready), aspired) == moved
