"""How a kind is found: by name among the plugins, by the files among the kinds."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from pipeline import plugins
from pipeline.errors import AmbiguousKind, InvalidArtefact, PluginError, UnknownKind
from pipeline.plugins import SERVABLES
from pipeline.registry.servable import ServableId
from pipeline.servables.kinds import detect, load_adapter, load_adapters
from pipeline.servables.lookup import LookupAdapter
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.servables.python import PythonAdapter


def plugin(name, value):
    return EntryPoint(name, value, SERVABLES)


LOOKUP = plugin("lookup", "pipeline.servables.lookup:LookupAdapter")
OPENVINO = plugin("openvino", "pipeline.servables.openvino:OpenVinoAdapter")
ADAPTERS = {"lookup": LookupAdapter(), "openvino": OpenVinoAdapter(), "python": PythonAdapter()}


def test_a_kind_is_loaded_by_name():
    assert load_adapter("lookup", [LOOKUP, OPENVINO]).kind == "lookup"
    assert load_adapter("lookup", [LOOKUP, LOOKUP]).kind == "lookup"


def test_what_is_installed_is_read_once(monkeypatch):
    read = []
    plugins.installed.cache_clear()
    monkeypatch.setattr(plugins, "entry_points", lambda: read.append(None) or EntryPoints([LOOKUP]))
    try:
        assert plugins.names(SERVABLES) == ["lookup"]
        assert load_adapter("lookup").kind == "lookup"
        assert plugins.names(plugins.CODECS) == []
    finally:
        plugins.installed.cache_clear()
    assert len(read) == 1


def test_an_unknown_kind_lists_the_known():
    with pytest.raises(PluginError, match="known: lookup, openvino"):
        load_adapter("torch", [OPENVINO, LOOKUP])
    with pytest.raises(PluginError, match="known: none"):
        load_adapter("torch", [])


def test_two_plugins_of_one_name_are_refused_and_named():
    with pytest.raises(PluginError, match=r"other:Table and pipeline\.servables\.lookup:LookupAdapter"):
        load_adapter("lookup", [LOOKUP, plugin("lookup", "other:Table")])


@pytest.mark.parametrize("value", ["no_such_module:X", "pipeline.servables.lookup:NoSuchClass"])
def test_a_broken_plugin_is_named_and_spoils_only_its_own_kind(value, caplog):
    installed = [LOOKUP, plugin("bad", value)]
    with pytest.raises(PluginError, match=value):
        load_adapter("bad", installed)
    assert list(load_adapters(installed)) == ["lookup"]
    assert value in caplog.text


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["model.xml", "model.bin"], "openvino"),
        (["net.xml", "net.bin", "README"], "openvino"),
        (["net.onnx"], "openvino"),
        (["table.csv"], "lookup"),
        (["servable.py"], "python"),
    ],
)
def test_files_tell_the_kind(tmp_path, files, kind):
    for name in files:
        (tmp_path / name).write_text("x")
    assert detect(tmp_path, ADAPTERS) == kind


@pytest.mark.parametrize("files", [[], ["model.xml"], ["a.onnx", "b.onnx"], ["a.csv", "b.csv"]])
def test_files_of_no_kind_are_unknown_and_the_error_says_what_was_looked_for(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(UnknownKind, match=r"lookup: exactly one \*\.csv, .* file; openvino: model\.xml"):
        detect(tmp_path, ADAPTERS)


def test_two_files_to_choose_from_are_named(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_text("x")
    with pytest.raises(UnknownKind, match=r"fit no kind: a\.onnx, b\.onnx; looked for"):
        detect(tmp_path, ADAPTERS)
    for kind in ("openvino", "onnxruntime"):
        with pytest.raises(InvalidArtefact, match=r"no model found .* expected .*\.onnx.*; got a\.onnx, b\.onnx"):
            load_adapter(kind).loader(ServableId("m", 1), tmp_path, {}).load()


def test_files_of_several_kinds_are_ambiguous_and_the_error_lists_them(tmp_path):
    for name in ("table.csv", "servable.py"):
        (tmp_path / name).write_text("x")
    with pytest.raises(AmbiguousKind, match="lookup, python"):
        detect(tmp_path, ADAPTERS)
