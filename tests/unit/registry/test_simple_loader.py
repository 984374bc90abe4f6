"""A kind of servable made of functions keeps the contract of loaders by itself."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from pipeline.errors import InvalidSettings
from pipeline.registry.options import Options
from pipeline.registry.servable import ServableId
from pipeline.registry.simple_loader import SimpleAdapter, SimpleLoader
from pipeline.testing.fakes import AddingServable

ID = ServableId("m", 3)


class Calls:
    """Functions that note what they were called with."""

    def __init__(self, estimates=(100,), loaded=(40,), failures=()):
        self.log = []
        self._estimates, self._loaded, self._failures = list(estimates), list(loaded), list(failures)

    def create(self):
        self.log.append("create")
        if self._failures:
            raise self._failures.pop()
        return AddingServable()

    def estimate(self):
        self.log.append("estimate")
        return self._next(self._estimates)

    def estimate_loaded(self, servable):
        self.log.append("estimate loaded")
        return self._next(self._loaded)

    def destroy(self, servable):
        self.log.append(("destroy", type(servable).__name__))
        if self._failures:
            raise self._failures.pop()

    def _next(self, values):
        value = values.pop(0)
        if isinstance(value, Exception):
            raise value
        return value


def test_there_is_a_servable_between_load_and_unload_only():
    loader = SimpleLoader(AddingServable)
    assert loader.servable is None
    servable = loader.load()
    assert loader.servable is servable
    loader.unload()
    assert loader.servable is None


def test_making_a_loader_calls_nothing():
    calls = Calls()
    SimpleLoader(calls.create, calls.estimate, destroy=calls.destroy)
    assert calls.log == []


def test_the_estimate_is_made_once():
    calls = Calls()
    loader = SimpleLoader(calls.create, calls.estimate)
    assert [loader.estimate_bytes() for _ in range(3)] == [100, 100, 100]
    loader.load()
    assert loader.estimate_bytes() == 100
    assert calls.log == ["estimate", "create"]


def test_an_estimate_of_none_is_an_answer():
    calls = Calls(estimates=[None])
    loader = SimpleLoader(calls.create, calls.estimate)
    assert [loader.estimate_bytes(), loader.estimate_bytes()] == [None, None]


def test_an_estimate_that_failed_is_made_again():
    calls = Calls(estimates=[OSError("storage is away"), 100])
    loader = SimpleLoader(calls.create, calls.estimate)
    with pytest.raises(OSError, match="away"):
        loader.estimate_bytes()
    assert loader.estimate_bytes() == 100


def test_without_an_estimate_nobody_knows():
    assert SimpleLoader(AddingServable).estimate_bytes() is None


@pytest.mark.parametrize(("before", "loaded", "after"), [(100, 40, 40), (100, 400, 100), (None, 40, 40)])
def test_after_the_load_the_lower_estimate_counts(before, loaded, after):
    calls = Calls([before], [loaded])
    loader = SimpleLoader(calls.create, calls.estimate, estimate_loaded_bytes=calls.estimate_loaded)
    assert loader.estimate_bytes() == before
    loader.load()
    assert loader.estimate_bytes() == loader.estimate_bytes() == after
    loader.unload()
    assert loader.estimate_bytes() == after
    assert calls.log == ["estimate", "create", "estimate loaded"]


def test_a_load_that_failed_can_be_tried_again_on_the_same_loader():
    calls = Calls(failures=[OSError("storage is away")])
    loader = SimpleLoader(calls.create, destroy=calls.destroy)
    with pytest.raises(OSError, match="away"):
        loader.load()
    assert loader.servable is None
    assert loader.load() is loader.servable
    assert calls.log == ["create", "create"]


def test_a_load_that_fails_after_the_servable_was_made_destroys_it():
    calls = Calls(loaded=[RuntimeError("no figure")])
    loader = SimpleLoader(calls.create, estimate_loaded_bytes=calls.estimate_loaded, destroy=calls.destroy)
    with pytest.raises(RuntimeError, match="no figure"):
        loader.load()
    assert loader.servable is None
    assert calls.log[-1] == ("destroy", "AddingServable")


def test_unloading_destroys_once_and_lets_go_of_the_servable():
    calls = Calls()
    loader = SimpleLoader(calls.create, destroy=calls.destroy)
    servable = weakref.ref(loader.load())
    loader.unload()
    loader.unload()
    gc.collect()
    assert servable() is None
    assert calls.log == ["create", ("destroy", "AddingServable")]


def test_a_servable_that_can_not_be_destroyed_is_let_go_of_all_the_same():
    calls = Calls()
    loader = SimpleLoader(calls.create, destroy=calls.destroy)
    loader.load()
    calls._failures.append(RuntimeError("stuck"))
    with pytest.raises(RuntimeError, match="stuck"):
        loader.unload()
    assert loader.servable is None


class Width(Options, frozen=True):
    width: int = 2


def made_of(log, **more):
    def create(*arguments):
        log.append(arguments)
        return AddingServable()

    return SimpleAdapter("adding", "a file", Path.is_file, create, **more)


def test_a_loader_outlives_its_adapter():
    log = []
    adapter = made_of(log, estimate_bytes=lambda path: len(path.name), destroy=log.append)
    loader = adapter.loader(ID, Path("/models/abc"), {})
    gone = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert gone() is None
    assert loader.estimate_bytes() == 3
    servable = loader.load()
    loader.unload()
    assert log == [(ID, Path("/models/abc"), Options()), servable]


def test_each_version_is_created_from_its_own_path_with_checked_options():
    log = []
    adapter = made_of(log, options=Width)
    for version, options in ((1, {}), (2, {"width": 7})):
        adapter.loader(ServableId("m", version), Path(f"/models/{version}"), options).load()
    assert log == [
        (ServableId("m", 1), Path("/models/1"), Width(2)),
        (ServableId("m", 2), Path("/models/2"), Width(7)),
    ]


@pytest.mark.parametrize(("kind", "options"), [(Options, {"width": 2}), (Width, {"wdth": 2}), (Width, {"width": "x"})])
def test_options_that_are_not_those_of_the_kind_are_refused_before_any_load(kind, options):
    with pytest.raises(InvalidSettings, match="options of m"):
        made_of([], options=kind).loader(ID, Path("/models/1"), options)


def test_the_kind_is_detected_by_its_function(tmp_path):
    adapter = made_of([])
    assert (adapter.kind, adapter.looks_for) == ("adding", "a file")
    assert not adapter.detect(tmp_path)
    (tmp_path / "1").write_text("")
    assert adapter.detect(tmp_path / "1")
