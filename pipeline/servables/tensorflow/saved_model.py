"""SavedModels: read, checked, and brought into a graph and a session as TensorFlow's C++ loader does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.framework import first_line
from pipeline.servables.tensorflow.checks import READ_VOCABULARY, RESTORE, OpCheck
from pipeline.servables.tensorflow.files import SAVED_MODEL
from pipeline.servables.tensorflow.graph import Graph, Part
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.servables.tensorflow.session import Model, open_session
from pipeline.servables.tensorflow.signatures import Declared, Endpoint, chosen, endpoint, type_name
from pipeline.servables.tensorflow.twins import unite

_INIT_OP: Final = "__saved_model_init_op"
_ASSIGN: Final = ("AssignVariableOp", "Assign")
_INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")


def load_saved_model(tensorflow: Any, what: str, path: Path, options: TensorFlowOptions) -> Model:
    """Return the model in ``path``; raises InvalidArtefact. Nothing of it is run before all of it is checked."""
    meta_graph = _meta_graph(what, path / SAVED_MODEL, options.tags)
    endpoints = _endpoints(what, meta_graph.signature_def, options)
    try:
        steps = _Steps(what, path, meta_graph, endpoints)
    except (KeyError, IndexError, StopIteration, ValueError) as error:
        reason = f"{SAVED_MODEL} is damaged: its graph does not fit together ({error})"
        raise InvalidArtefact(what, reason) from error
    used = steps.check(options.allow_ops)
    definition = steps.definition()
    del meta_graph
    graph = tensorflow.Graph()
    try:
        with graph.as_default():
            tensorflow.graph_util.import_graph_def(definition, name="")
    except Exception as error:
        raise InvalidArtefact(
            what, f"TensorFlow can not import the graph of {SAVED_MODEL}: {first_line(error)}"
        ) from error
    session = open_session(tensorflow, graph, options)
    try:
        steps.run(session)
    except Exception as error:
        session.close()
        raise InvalidArtefact(
            what, f"TensorFlow can not restore the variables and tables: {first_line(error)}"
        ) from error
    return Model(session, endpoints, tuple(sorted(used)))


class _Steps:
    """What of a graph is needed for what: the variables, the tables, the signatures."""

    def __init__(self, what: str, path: Path, meta_graph: Any, endpoints: Mapping[str, Endpoint]) -> None:
        self._what = what
        self._graph = Graph(meta_graph.graph_def)
        self._definition = meta_graph.graph_def
        self._assets = _assets(what, path, meta_graph)
        self._checkpoint = path / "variables" / "variables"
        saver = meta_graph.saver_def
        # A model without variables may have no checkpoint; TensorFlow's loader takes that to be the rule.
        has_checkpoint = self._checkpoint.with_suffix(".index").is_file()
        self._restore_op = saver.restore_op_name if has_checkpoint else ""
        self._filename = saver.filename_tensor_name if self._restore_op else ""
        self._init_op = _init_op(meta_graph)
        tensors = [tensor for one in endpoints.values() for tensor in (*one.feeds, *one.fetches)]
        restore = [*filter(None, [self._restore_op, self._filename])]
        unite(self._graph, restore)
        self._served = self._graph.part(tensors)
        self._restore = self._graph.part(restore)
        self._init = self._graph.part([*filter(None, [self._init_op]), *self._assets])
        empty = self._graph.variables(self._served.nodes) - self._graph.variables(self._filling())
        if empty and not has_checkpoint:
            raise InvalidArtefact(what, f"{self._checkpoint}.index is missing, and the model has variables")
        if empty:
            reason = f"nothing in {SAVED_MODEL} gives the variable {min(empty)} its value ({len(empty)} such)"
            raise InvalidArtefact(what, f"{reason}; export the model anew, from Keras with model.export(DIRECTORY)")

    def _filling(self) -> Iterator[str]:
        """Yield the nodes that may give variables their values: those of the load, and assignments that are served."""
        yield from self._restore.nodes
        yield from self._init.nodes
        yield from (name for name in self._served.nodes if self._graph.nodes[name].op in _ASSIGN)

    def check(self, allowed: tuple[str, ...]) -> set[str]:
        """Return which of the allowed operations there are; raises InvalidArtefact for others that only may."""
        check = OpCheck(self._what, self._graph, allowed)
        try:
            check.computes_only(self._served)
            check.reads(self._restore, RESTORE, [self._filename] if self._restore_op else [])
            check.reads(self._init, READ_VOCABULARY, self._assets)
        except (KeyError, IndexError, StopIteration) as error:
            raise InvalidArtefact(self._what, f"{SAVED_MODEL} is damaged: {error} is missing in its graph") from error
        return check.used

    def definition(self) -> Any:
        """Return the graph without what nothing of it needs: how to save it, and the signatures that are not served."""
        parts = (self._served, self._restore, self._init)
        needed = Part(*(frozenset().union(*sets) for sets in zip(*parts, strict=True)))
        definition = self._definition
        _keep(definition.node, [node.name in needed.nodes for node in definition.node])
        library = definition.library
        _keep(library.function, [one.signature.name in needed.functions for one in library.function])
        del library.gradient[:]
        return definition

    def run(self, session: Any) -> None:
        """Restore the variables and fill the tables; raises what TensorFlow raises."""
        if self._restore_op:
            session.run(self._restore_op, {self._filename: str(self._checkpoint), **self._assets})
        # Even to run nothing, which is what most models have to, TensorFlow optimizes the graph.
        if self._init_op and any(self._graph.nodes[name].op != "NoOp" for name in self._init.nodes):
            session.run(self._init_op, self._assets)


def _meta_graph(what: str, file: Path, tags: tuple[str, ...]) -> Any:
    from google.protobuf.message import DecodeError  # noqa: PLC0415  # TensorFlow's, and there only with it
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415  # the same

    try:
        saved_model = SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise InvalidArtefact(what, f"{file.name} is no SavedModel: {error}") from error
    fitting = [one for one in saved_model.meta_graphs if set(one.meta_info_def.tags) == set(tags)]
    if len(fitting) != 1:
        found = "; ".join(",".join(one.meta_info_def.tags) for one in saved_model.meta_graphs)
        reason = f"{file.name} has {len(fitting)} graphs tagged {','.join(tags)}, expected one"
        raise InvalidArtefact(what, f"{reason}; it has: {found or 'none'}. The option tags chooses")
    return fitting[0]


def _endpoints(what: str, found: Mapping[str, Any], options: TensorFlowOptions) -> dict[str, Endpoint]:
    usable = [name for name, one in found.items() if one.inputs and one.outputs and not name.startswith("__")]
    endpoints = {}
    for name in chosen(what, sorted(usable), options):
        inputs, outputs = (
            [_declared(*item) for item in sorted(side.items())] for side in (found[name].inputs, found[name].outputs)
        )
        endpoints[name] = endpoint(what, name, inputs, outputs, options)
    return endpoints


def _declared(name: str, info: Any) -> Declared:
    shape = None if info.tensor_shape.unknown_rank else tuple(max(axis.size, -1) for axis in info.tensor_shape.dim)
    return Declared(name, info.name, type_name(info.dtype), shape)


def _init_op(meta_graph: Any) -> str:
    if _INIT_OP in meta_graph.signature_def:
        name: str = meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name
        return name.partition(":")[0]
    collections = [meta_graph.collection_def[name] for name in _INIT_COLLECTIONS if name in meta_graph.collection_def]
    return next((name for collection in collections for name in collection.node_list.value), "")


def _assets(what: str, path: Path, meta_graph: Any) -> dict[str, str]:
    """Return the path of each asset by the tensor that carries it; they lie in the version, whatever the file says."""
    assets = {}
    for asset in meta_graph.asset_file_def:
        inside = PurePosixPath(asset.filename)
        if inside.is_absolute() or ".." in inside.parts:
            raise InvalidArtefact(what, f"asset {asset.filename!r} does not lie in the model's directory assets")
        assets[asset.tensor_info.name] = str(path / "assets" / inside)
    return assets


def _keep(repeated: Any, wanted: list[bool]) -> None:
    for place in range(len(wanted) - 1, -1, -1):
        if not wanted[place]:
            del repeated[place]
