"""Keras files: loaded by Keras in safe mode, then brought into a graph and a session like any other model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import InvalidArtefact
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.tensorflow.checks import OpCheck
from pipeline.servables.tensorflow.graph import Graph
from pipeline.servables.tensorflow.keras_archive import check_archive
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.servables.tensorflow.session import Model, brief, open_session
from pipeline.servables.tensorflow.signatures import Declared, chosen, endpoint, type_name


def load_keras(tensorflow: Any, what: str, file: Path, options: TensorFlowOptions) -> Model:
    """Return the model in ``file`` with one signature, named as ``model.export`` names it; raises InvalidArtefact."""
    check_archive(what, file)
    chosen(what, [DEFAULT_SIGNATURE], options)
    try:
        import keras  # noqa: PLC0415  # comes with TensorFlow

        if keras.config.backend() != "tensorflow":
            reason = f"Keras is set to compute with {keras.config.backend()}; set KERAS_BACKEND=tensorflow"
            raise InvalidArtefact(what, reason)
        model = keras.models.load_model(file, compile=False, safe_mode=True)
        function, names = _trace(tensorflow, keras, model)
    except InvalidArtefact:
        raise
    except Exception as error:
        raise InvalidArtefact(what, f"Keras can not load {file.name}: {brief(error)}") from error
    return _Grafted(tensorflow, what, function, names).model(options)


def _trace(tensorflow: Any, keras: Any, model: Any) -> tuple[Any, list[str]]:
    """Return the concrete function of a model's prediction, and the names of its inputs."""
    specs = [tensorflow.TensorSpec(one.shape, one.dtype) for one in model.inputs]
    # A Sequential has one input, and does not know it as ``input`` before it was called.
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def predict(*tensors: Any) -> Any:
        return model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)

    function = tensorflow.function(predict, autograph=False).get_concrete_function(*specs)
    return function, [one.name for one in model.inputs]


class _Grafted:
    """The graph of a concrete function in a graph of its own, with variables of its own in place of the captured ones."""

    def __init__(self, tensorflow: Any, what: str, function: Any, names: list[str]) -> None:
        self._tensorflow = tensorflow
        self._what = what
        self._function = function
        self._names = names
        self._definition = function.graph.as_graph_def()
        self._outputs = list(_named(function.structured_outputs))

    def model(self, options: TensorFlowOptions) -> Model:
        """Return the model, its variables filled."""
        function = self._function
        count = len(self._names)
        inputs = [_declare(*one) for one in zip(self._names, function.inputs[:count], strict=True)]
        outputs = [_declare(*one) for one in self._outputs]
        served = endpoint(self._what, DEFAULT_SIGNATURE, inputs, outputs, options)
        graph = Graph(self._definition)
        check = OpCheck(self._what, graph, options.allow_ops)
        check.computes_only(graph.part(graph.nodes))
        target = self._tensorflow.Graph()
        with target.as_default():
            assigned = [self._variable(*one) for one in enumerate(function.captured_inputs)]
            placeholders = [tensor.name for tensor in function.inputs[count:]]
            handles = [handle for handle, _, _, _ in assigned]
            self._tensorflow.graph_util.import_graph_def(
                self._definition, name="", input_map=dict(zip(placeholders, handles, strict=True))
            )
        session = open_session(self._tensorflow, target, options)
        for _, assign, value, variable in assigned:
            session.run(assign, {value: variable.numpy()})
        return Model(session, {DEFAULT_SIGNATURE: served}, tuple(sorted(check.used)))

    def _variable(self, place: int, handle: Any) -> tuple[Any, Any, Any, Any]:
        """Return a variable's handle in the new graph, what assigns it, what it is assigned from, and the old variable."""
        found = [variable for variable in self._function.variables if variable.handle is handle]
        if not found:
            reason = "the model keeps a table or another resource, which a Keras file is not served with"
            raise InvalidArtefact(self._what, f"{reason}; export it as a SavedModel: model.export(DIRECTORY)")
        variable, raw, v1 = found[0], self._tensorflow.raw_ops, self._tensorflow.compat.v1
        shared_name = f"variable_{place}"
        new = raw.VarHandleOp(dtype=variable.dtype, shape=variable.shape, shared_name=shared_name, name=shared_name)
        value = v1.placeholder(variable.dtype, variable.shape, name=f"{shared_name}_value")
        return new, raw.AssignVariableOp(resource=new, value=value, name=f"{shared_name}_assign"), value, variable


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
