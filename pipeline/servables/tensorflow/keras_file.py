"""Keras files: loaded by Keras in safe mode, then brought into a graph and a session like any other model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import InvalidArtefact, LoadFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.framework import first_line
from pipeline.servables.tensorflow.checks import OpCheck
from pipeline.servables.tensorflow.graph import Graph
from pipeline.servables.tensorflow.keras_archive import check_archive
from pipeline.servables.tensorflow.keras_weights import load_model
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.servables.tensorflow.session import Model, open_session
from pipeline.servables.tensorflow.signatures import Declared, chosen, endpoint, type_name


class _Filled(NamedTuple):
    """A variable of the new graph: its handle, what assigns it, where that takes its value, and the old variable."""

    handle: Any
    assign: Any
    value: Any
    old: Any


def load_keras(tensorflow: Any, what: str, file: Path, options: TensorFlowOptions) -> Model:
    """Return the model in ``file`` with one signature, its tensors named as ``model.export`` names them.

    Raises InvalidArtefact for what is no Keras file that can be served, LoadFailed where Keras computes with JAX.
    """
    check_archive(what, file)
    chosen(what, [DEFAULT_SIGNATURE], options)
    import keras  # noqa: PLC0415  # comes with TensorFlow

    if keras.config.backend() != "tensorflow":
        raise LoadFailed(what, f"Keras computes with {keras.config.backend()} here; set KERAS_BACKEND=tensorflow")
    try:
        model = load_model(tensorflow, keras, file)
        names = [one.name for one in model.inputs]
        function = _trace(tensorflow, keras, model)
    except Exception as error:
        raise InvalidArtefact(what, f"Keras can not load {file.name}: {first_line(error)}") from error
    inputs = [_declare(*one) for one in zip(names, function.inputs[: len(names)], strict=True)]
    outputs = [_declare(*one) for one in _named(function.structured_outputs)]
    served = endpoint(what, DEFAULT_SIGNATURE, inputs, outputs, options)
    definition = function.graph.as_graph_def()
    graph = Graph(definition)
    check = OpCheck(what, graph, options.allow_ops)
    check.computes_only(graph.part(graph.nodes))
    session = _graft(tensorflow, what, function, definition, options)
    return Model(session, {DEFAULT_SIGNATURE: served}, tuple(sorted(check.used)))


def _trace(tensorflow: Any, keras: Any, model: Any) -> Any:
    """Return the concrete function of a model's prediction."""
    # A Sequential has one input, and does not know it as ``input`` before it was called.
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def predict(*tensors: Any) -> Any:
        return model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)

    specs = [tensorflow.TensorSpec(one.shape, one.dtype) for one in model.inputs]
    return tensorflow.function(predict, autograph=False).get_concrete_function(*specs)


def _graft(tensorflow: Any, what: str, function: Any, definition: Any, options: TensorFlowOptions) -> Any:
    """Return a session of a function's graph, with variables of its own in place of those that it captured."""
    captured: Sequence[Any] = function.captured_inputs
    placeholders = [tensor.name for tensor in function.inputs[len(function.inputs) - len(captured) :]]
    graph = tensorflow.Graph()
    with graph.as_default():
        variables = [_variable(tensorflow, what, function, place) for place in range(len(captured))]
    session = open_session(tensorflow, graph, options)
    # Before there is more in the graph than this: TensorFlow optimizes all of it for each thing that it is told to run.
    # ``asarray`` copies nothing, and neither does the assignment: the new variable takes the old one's memory.
    if variables:
        session.run([one.assign for one in variables], {one.value: np.asarray(one.old.value()) for one in variables})
    with graph.as_default():
        handles = {name: one.handle for name, one in zip(placeholders, variables, strict=True)}
        tensorflow.graph_util.import_graph_def(definition, name="", input_map=handles)
    return session


def _variable(tensorflow: Any, what: str, function: Any, place: int) -> _Filled:
    """Make the variable that stands for the captured one at ``place``, in the current graph."""
    handle = function.captured_inputs[place]
    old = next((variable for variable in function.variables if variable.handle is handle), None)
    if old is None:
        reason = "the model keeps a table or another resource beside its variables"
        raise InvalidArtefact(what, f"{reason}; export it as a SavedModel: model.export(DIRECTORY)")
    name = f"variable_{place}"
    new = tensorflow.raw_ops.VarHandleOp(dtype=old.dtype, shape=old.shape, shared_name=name, name=name)
    value = tensorflow.compat.v1.placeholder(old.dtype, old.shape, name=f"{name}_value")
    return _Filled(new, tensorflow.raw_ops.AssignVariableOp(resource=new, value=value), value, old)


def _named(structured: Any) -> Iterator[tuple[str, Any]]:
    """Name outputs as ``model.export`` does: by the keys of a dict, else by their place."""
    if isinstance(structured, dict):
        yield from sorted(structured.items())
        return
    many = structured if isinstance(structured, list | tuple) else [structured]
    yield from ((f"output_{place}", tensor) for place, tensor in enumerate(many))


def _declare(name: str, tensor: Any) -> Declared:
    shape = None if tensor.shape.rank is None else tuple(-1 if axis is None else axis for axis in tensor.shape)
    return Declared(name, tensor.name, type_name(tensor.dtype.as_datatype_enum), shape)
