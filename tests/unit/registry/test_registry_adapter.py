"""What an adapter makes of the items that pass through it."""

from __future__ import annotations

import pytest

from pipeline.errors import InvalidArtefact, LoadFailed
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, connect
from pipeline.registry.source_adapter import UnaryAdapter


class Sink:
    def __init__(self):
        self.calls = []

    def set_aspired(self, stream, items, labels, generation):
        self.calls.append((stream, list(items), dict(labels), generation))

    def forget(self, stream, generation):
        self.calls.append((stream, generation))


def item(version, data="/m", **more):
    return Aspired(ServableId("m", version), data, path=data, generation=5, **more)


def refuse(aspired):
    if aspired.id.version == 2:
        raise InvalidArtefact(str(aspired.id), "empty")
    if aspired.id.version == 3:
        raise ZeroDivisionError
    return aspired.data.upper()


def test_a_failing_conversion_becomes_an_errored_item_and_its_neighbours_pass():
    sink, adapter = Sink(), UnaryAdapter(refuse)
    connect(adapter, sink)
    adapter.set_aspired("m", [item(1), item(2), item(3)], {"stable": 1}, 5)
    [(stream, items, labels, generation)] = sink.calls
    assert (stream, labels, generation) == ("m", {"stable": 1}, 5)
    assert [(i.id.version, i.data, i.error and i.error.code) for i in items] == [
        (1, "/M", None), (2, None, "invalid_artefact"), (3, None, "load_failed"),
    ]  # fmt: skip
    assert all(i.generation == 5 and i.path == "/m" for i in items)


def test_an_errored_item_passes_untouched():
    error = LoadFailed("m/1", "gone")
    converted = UnaryAdapter(refuse).adapt(item(1, None, error=error))
    assert (converted.error, converted.data) == (error, None)


def test_forgetting_passes():
    sink, adapter = Sink(), UnaryAdapter(refuse)
    connect(adapter, sink)
    adapter.forget("m", 3)
    assert sink.calls == [("m", 3)]


def test_an_adapter_is_connected_once_and_before_it_is_used():
    adapter = UnaryAdapter(refuse)
    with pytest.raises(RuntimeError, match="connect"):
        adapter.set_aspired("m", [], {}, 1)
    connect(adapter, Sink())
    with pytest.raises(RuntimeError, match="already"):
        connect(adapter, Sink())


def test_content_is_told_apart_by_digest_and_without_one_by_path():
    assert item(1, "/a", digest="x").is_same_content(item(1, "/b", digest="x"))
    assert not item(1, "/a", digest="x").is_same_content(item(1, "/a", digest="y"))
    assert item(1, "/a").is_same_content(item(1, "/a", digest="y"))
    assert not item(1, "/a").is_same_content(item(1, "/b"))
