"""Which target of a router gets a stream."""

from __future__ import annotations

from pipeline.registry.router import SourceRouter, by_kind, by_name, by_substring
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired


class Sink:
    def __init__(self):
        self.calls = []

    def set_aspired(self, stream, items, labels, generation):
        self.calls.append((stream, [item.id.version for item in items], dict(labels), generation))

    def forget(self, stream, generation):
        self.calls.append((stream, "forgotten", generation))


def items(stream, *versions, kind=None):
    return [Aspired(ServableId(stream, version), "/m", kind=kind) for version in versions]


def router(route):
    sinks = {"a": Sink(), "b": Sink()}
    return SourceRouter(route, sinks), sinks


def test_each_stream_goes_to_its_target_whole():
    it, sinks = router(by_name({"x": "a"}, default="b"))
    it.set_aspired("x", items("x", 1, 2), {"stable": 1}, 3)
    it.set_aspired("y", items("y", 5), {}, 4)
    it.forget("x", 6)
    assert sinks["a"].calls == [("x", [1, 2], {"stable": 1}, 3), ("x", "forgotten", 6)]
    assert sinks["b"].calls == [("y", [5], {}, 4)]


def test_the_first_substring_that_fits_decides_and_the_default_takes_the_rest():
    route = by_substring({"image": "a", "im": "b"}, default="c")
    assert [route(name, ()) for name in ("my-image", "im-1", "text")] == ["a", "b", "c"]


def test_the_kind_decides_where_the_versions_agree_on_one():
    route = by_kind(default="rest")
    assert route("m", items("m", 1, 2, kind="openvino")) == "openvino"
    assert route("m", [*items("m", 1, kind="lookup"), *items("m", 2, kind="python")]) == "rest"
    assert route("m", items("m", 1)) == "rest"
    assert route("m", ()) == "rest"


def test_what_is_routed_nowhere_is_discarded():
    it, sinks = router(lambda *_: None)
    it.set_aspired("x", items("x", 1), {}, 1)
    it.forget("x", 2)
    assert not sinks["a"].calls
    assert not sinks["b"].calls


def test_what_is_routed_to_nobody_is_discarded_and_logged(caplog):
    it, sinks = router(by_name({"x": "z"}))
    it.set_aspired("x", items("x", 1), {}, 1)
    assert not sinks["a"].calls
    assert "stream x is routed to 'z', which is no target; known: a, b" in caplog.text


def test_a_stream_that_moves_is_forgotten_where_it_was():
    it, sinks = router(by_name({}, default="a"))
    it.set_aspired("x", items("x", 1), {}, 1)
    it.update(by_name({"x": "b"}, default="a"))
    it.set_aspired("x", items("x", 1), {}, 2)
    assert sinks["a"].calls == [("x", [1], {}, 1), ("x", "forgotten", 2)]
    assert sinks["b"].calls == [("x", [1], {}, 2)]
