"""Any mixture of aspirations, reloads, labels, failures, retries and too little memory, one step at a time.

Two streams share a budget; one loads changed content anew, the other reports it. After every step what is promised at
every moment is checked, and at the end what is promised of the end.
"""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st
from registry_fakes import FakeLoader, ManualExecutor, Rig

from pipeline.errors import LoadFailed, PenstockError
from pipeline.registry.budget import Budget, WhenShort
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired

LIMIT_BYTES = 10
STREAMS = ("kept", "reloaded")


class Sized(FakeLoader):
    def __init__(self, model, size, after, errors, tag):
        super().__init__(*errors, tag=tag)
        self.model, self.size, self.after = model, size, after
        self.successes = 0

    def load(self):
        if self.model.during:
            self.model.aspire(*self.model.during.pop())
        servable = super().load()
        self.successes += 1
        return servable

    def estimate_bytes(self):
        return self.after if self.servable is not None else self.size


ERRORS = st.sampled_from([()] * 6 + [(ValueError("bad"),), *((OSError("busy"),) * count for count in (1, 3, 9))])
SIZES = st.sampled_from([(None, None), (1, 1), (2, 2), (2, 1), (6, 5), (9, 9), (11, 11)])
VERSION = st.one_of(
    *[st.tuples(SIZES, ERRORS, st.sampled_from("ab"), st.sampled_from([0, 0, 0, 1, 2]))] * 9,
    st.just(None),  # an error in place of the loader
)
NUMBERS = range(3)
ASPIRATION = st.tuples(
    st.sampled_from(["kept", "reloaded", "reloaded"]),
    st.lists(st.tuples(st.sampled_from(NUMBERS), VERSION), max_size=5).map(dict),
    st.dictionaries(st.sampled_from(["stable", "canary"]), st.sampled_from(NUMBERS), min_size=1, max_size=2),
)
STEP = st.one_of(
    *[ASPIRATION.map(lambda aspiration: ("aspire", *aspiration))] * 3,
    ASPIRATION.map(lambda aspiration: ("aspire_during_the_next_load", *aspiration)),
    st.tuples(st.just("forget"), st.sampled_from(STREAMS)),
    st.tuples(st.just("fire"), st.integers(1, 4)),
    st.tuples(st.just("hold"), st.sampled_from(STREAMS)),
    st.tuples(st.just("release"), st.integers(0, 3)),
)
# After each step so many loads and unloads.
STEPS = st.lists(st.tuples(STEP, st.sampled_from([0, 1, 9]), st.sampled_from([0, 1, 9])), min_size=3, max_size=30)


class Model:
    """The manager, all loaders that it was given, and what was aspired last."""

    def __init__(self, when_short):
        self.budget = Budget(LIMIT_BYTES, when_short)
        self.rig = Rig(ManualExecutor(), ManualExecutor(), budget=self.budget, reloading=["reloaded"])
        self.manager = self.rig.manager
        self.loaders = []
        self.aspired = {}
        self.labels = {}
        self.held = []
        self.during = []

    def aspire_during_the_next_load(self, *aspiration):
        self.during = [aspiration]

    def aspire(self, stream, versions, labels):
        items = []
        for version, given_ in versions.items():
            id_ = ServableId(stream, version)
            if given_ is None:
                items.append(Aspired(id_, None, LoadFailed(str(id_), "no adapter"), digest="a"))
                continue
            (size, after), errors, digest, revision = given_
            loader = Sized(self, size, after, errors, tag=(id_, digest))
            self.loaders.append(loader)
            items.append(Aspired(id_, loader, digest=digest, revision=revision))
        self.aspired[stream], self.labels[stream] = versions, labels
        self.manager.set_aspired(stream, items, labels, 1)

    def forget(self, stream):
        self.aspired.pop(stream, None)
        self.labels.pop(stream, None)
        self.manager.forget(stream, 1)

    def run(self, loads, unloads):
        for pool, count in ((self.rig.load_pool, loads), (self.rig.unload_pool, unloads)):
            for _ in range(min(count, len(pool.jobs))):
                pool.step()

    def fire(self, count):
        for _ in range(min(count, len(self.rig.timer.due))):
            self.rig.timer.fire()

    def hold(self, stream):
        with contextlib.suppress(PenstockError):
            self.held.append(self.manager.acquire(stream))

    def release(self, place):
        if place < len(self.held):
            self.held.pop(place).release()

    def answers(self):
        """Every way of asking that is answered now."""
        ways = {(stream, None, None) for stream in STREAMS}
        ways |= {(stream, version, None) for stream in STREAMS for version in NUMBERS}
        ways |= {(stream, None, label) for stream in STREAMS for label in ("stable", "canary")}
        return {way for way in ways if self.answers_to(way)}

    def answers_to(self, way):
        try:
            with self.manager.acquire(*way) as handle:
                assert handle.servable.is_loaded
                return True
        except PenstockError:
            return False

    def may_cease(self, way, before):
        """Whether nobody promises that what was answered before is answered still."""
        stream, version, label = way
        was, now = before.get(stream, {}), self.aspired.get(stream, {})
        if version is not None:
            return version not in was or version not in now
        if label is not None:
            return self.labels.get(stream, {}).get(label) not in now
        return not now

    def resident(self):
        return [loader for loader in self.loaders if loader.servable is not None]


@pytest.mark.parametrize("when_short", WhenShort)
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, is_closed_at_once=st.booleans())
def test_what_is_promised_holds_after_every_step_and_at_the_end(when_short, steps, is_closed_at_once):
    model = Model(when_short)
    for (name, *arguments), loads, unloads in steps:
        check(model, getattr(model, name), *arguments)
        check(model, model.run, loads, 0)
        check(model, model.run, 0, unloads)
    if not is_closed_at_once:
        for handle in model.held:
            handle.release()
        model.rig.run_until_quiet()
        check_the_end(model)
    model.manager.close(0)
    for handle in model.held:
        handle.release()
    model.rig.run_until_quiet()
    check_nothing_is_left(model)


def check(model, step, *arguments):
    """Take one step, and compare what is answered after it with what was answered before."""
    answered, before = model.answers(), dict(model.aspired)
    step(*arguments)
    ceased = answered - model.answers()
    assert all(model.may_cease(way, before) for way in ceased), (step, arguments, ceased)
    assert all(handle.servable.is_loaded for handle in model.held)
    assert model.budget.reserved_bytes <= LIMIT_BYTES
    assert sum(loader.after or 0 for loader in model.resident()) <= LIMIT_BYTES


def check_the_end(model):
    """Only what the last aspirations name is resident, each version once, and an old one where none of those is up."""
    available = model.manager.available()
    assert Counter(loader.tag[0] for loader in model.resident()) == Counter(available)
    for stream in STREAMS:
        snapshot = model.manager.snapshot(stream)
        aspired = model.aspired.get(stream)
        if aspired is None:
            assert snapshot is None
            continue
        up = set(snapshot.available)
        labelled = {version for version in snapshot.labels.values() if version in up}
        extra = up - set(aspired) - labelled
        assert not extra or (aspired and not up & set(aspired) and len(extra) == 1)
        for version in up & set(aspired):
            check_the_content(model, snapshot, stream, version, aspired[version])


def check_the_content(model, snapshot, stream, version, given_):
    """Changed content answers, unless it could not be loaded, or not yet, or is not to replace the old one."""
    with model.manager.acquire(stream, version) as handle:
        lives = [state for state in snapshot.states if state.startswith(f"{version}:")]
        if stream == "reloaded" and given_ is not None and len(lives) == 1:
            assert handle.digest == given_[2]


def check_nothing_is_left(model):
    assert model.resident() == []
    assert model.budget.reserved_bytes == 0
    assert model.rig.timer.due == []
    assert all(loader.unloads == loader.successes <= 1 for loader in model.loaders)
    order = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    lives = {}
    for event in model.rig.events:
        lives.setdefault((event.id, event.incarnation), []).append(str(event.state))
    for states in lives.values():
        assert states[-1] == "END"
        for life in " ".join(states).split("END")[:-1]:
            places = [order.index(name) for name in life.split()]
            assert places == sorted(set(places))
