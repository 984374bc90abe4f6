"""From the files of a version to an ``ov.Model`` with the shapes that the options want; checked before it is read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.errors import InvalidArtefact, LoadFailed
from pipeline.servables.framework import last_line
from pipeline.servables.openvino import checkpoint, files, graph_def, ir
from pipeline.servables.openvino.options import OpenVinoOptions
from pipeline.servables.openvino.weights import Weights

# Weights that are mapped from a file take the whole process down when somebody shortens that file in place.
_NOT_MAPPED: Final = {"ENABLE_MMAP": False}


class Network(NamedTuple):
    """What was read: an ``ov.Model``, the names of its tensors where the files decide them, and weights of our own."""

    model: Any
    input_names: Sequence[str] = ()
    output_names: Sequence[str] = ()
    weights: Weights | None = None


def read(name: str, core: Callable[[], Any], model: files.ModelFile) -> Network:
    """Return the model of a version; ``core`` returns the ``openvino.Core``, and may import OpenVINO for that.

    Raises InvalidArtefact, and what ``core`` raises. An ONNX file has been looked over by then. Blocks, and but for an
    import holds the GIL for moments only.
    """
    path = model.path
    meta = None
    if model.format is files.Format.IR:
        return _read_ir(name, core, path)
    if model.format is files.Format.SAVED_MODEL:
        graph_def.check_saved_model(name, path / files.SAVED_MODEL)
        checkpoint.check_checkpoint(name, path / "variables")
    elif model.format is files.Format.FROZEN_GRAPH:
        graph_def.check_graph(name, path)
        meta = files.read_graph_meta(name, path)
    reader = core()
    try:
        network = reader.read_model(path, config=_NOT_MAPPED)
        if meta is None:
            return Network(network)
        return Network(_cut_out(name, network, meta), meta.input_names, meta.output_names)
    except LoadFailed:
        raise
    except Exception as error:
        raise InvalidArtefact(name, f"OpenVINO can not read {path.name}: {last_line(error)}") from error


def _read_ir(name: str, core: Callable[[], Any], xml: Path) -> Network:
    weights_file = xml.with_suffix(".bin")
    if not weights_file.is_file():
        raise InvalidArtefact(name, f"{weights_file.name} is missing beside {xml.name}")
    weights = Weights(name, weights_file)
    try:
        # While the weights are read.
        ir.check_ir(name, xml)
        reader = core()
        return Network(_read_xml(name, reader, xml, weights.tensor()), weights=weights)
    except BaseException:
        weights.close()
        raise


def _read_xml(name: str, reader: Any, xml: Path, weights: Any) -> Any:
    try:
        return reader.read_model(xml.read_bytes(), weights)
    except Exception as error:
        raise InvalidArtefact(name, f"OpenVINO can not read {xml.name}: {last_line(error)}") from error


def reshape(name: str, network: Any, options: OpenVinoOptions) -> None:
    """Give the inputs the shapes that the options want; raises LoadFailed where the model does not have them."""
    if not options.shapes and options.batch is None:
        return
    inputs = {
        port.get_any_name() if port.get_names() else f"input_{at}": port for at, port in enumerate(network.inputs)
    }
    unknown = sorted(set(options.shapes) - set(inputs))
    if unknown:
        raise LoadFailed(name, f"option shapes: no input {unknown[0]!r}, there are {', '.join(inputs)}")
    shapes = {}
    for tensor, port in inputs.items():
        given = options.shapes.get(tensor)
        shape = list(given) if given is not None else list(port.get_partial_shape())
        if options.batch is not None and not shape:
            raise LoadFailed(name, f"option batch: input {tensor!r} has no axes")
        if options.batch is not None:
            shape[0] = options.batch
        shapes[port] = importlib.import_module("openvino").PartialShape(shape)
    try:
        network.reshape(shapes)
    except Exception as error:
        raise LoadFailed(name, f"options shapes and batch: the model does not have them: {last_line(error)}") from error


def takes_two_rows(network: Any) -> bool:
    """Return whether a model whose axis 0 is open takes two rows; True for others, which say themselves what they take.

    OpenVINO computes a model for shapes that its own rules forbid, and dies of it (2026.4: a product of matrices that
    do not fit). The model is given another shape for that, without the GIL, so this is for a copy.
    """
    partial_shape = importlib.import_module("openvino").PartialShape
    shapes = {port: list(port.get_partial_shape()) for port in network.inputs}
    if not any(shape and shape[0].is_dynamic for shape in shapes.values()):
        return True
    two = [[2, *shape[1:]] if shape and shape[0].is_dynamic else shape for shape in shapes.values()]
    try:
        network.reshape({port: partial_shape(shape) for port, shape in zip(shapes, two, strict=True)})
    except Exception:  # noqa: BLE001  # whatever the rule is
        return False
    return True


def _cut_out(name: str, network: Any, meta: files.GraphMeta) -> Any:
    """Return the part of a frozen graph between the placeholders and the tensors that ``graph_meta.json`` names."""
    inputs = [_full(tensor) for tensor in meta.input_names]
    outputs = [_full(tensor) for tensor in meta.output_names]
    parameters = {tensor: node for node in network.get_parameters() for tensor in node.output(0).get_names()}
    ports = {
        tensor: port
        for node in network.get_ordered_ops()
        if node.get_type_name() != "Result"
        for port in node.outputs()
        for tensor in port.get_names()
    }
    for wanted, there, what in ((inputs, parameters, "placeholder"), (outputs, ports, "tensor")):
        missing = [tensor for tensor in wanted if tensor not in there]
        if missing:
            raise InvalidArtefact(name, f"{files.GRAPH_META}: the graph has no {what} {missing[0]!r}")
    openvino = importlib.import_module("openvino")
    ended = {node.input_value(0).get_any_name(): node for node in network.get_results()}
    results = [ended.get(ports[tensor].get_any_name()) or openvino.opset13.result(ports[tensor]) for tensor in outputs]
    return openvino.Model(results, [parameters[tensor] for tensor in inputs], network.get_friendly_name())


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
