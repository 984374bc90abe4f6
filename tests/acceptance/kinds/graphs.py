"""OpenVINO's IR and ONNX: the same network, asked by OpenVINO and by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import openvino as ov
from onnx import TensorProto, helper, numpy_helper
from openvino import opset13 as ops

from tests.acceptance.kinds import asked

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
TYPES = {
    "bool": TensorProto.BOOL,
    "u8": TensorProto.UINT8,
    "u16": TensorProto.UINT16,
    "u32": TensorProto.UINT32,
    "u64": TensorProto.UINT64,
    "i8": TensorProto.INT8,
    "i16": TensorProto.INT16,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "f16": TensorProto.FLOAT16,
    "f32": TensorProto.FLOAT,
    "f64": TensorProto.DOUBLE,
}


def main() -> None:
    folder = asked.folder()
    images, _ = asked.digits()
    question = {"image": images[:40]}
    digits = digits_model()
    for stream in ("onnx", "onnx-in-openvino"):
        onnx.save(digits, asked.version(folder, stream) / "model.onnx")
    asked.write(folder, "onnx", serving_default=(question, in_onnxruntime(folder / "onnx", question)))

    ir = asked.version(folder, "ir") / "model.xml"
    core = ov.Core()
    ov.save_model(core.read_model(folder / "onnx" / "1" / "model.onnx"), ir, compress_to_fp16=False)
    for stream in ("ir", "onnx-in-openvino"):
        (model,) = [*(folder / stream / "1").glob("*.xml"), *(folder / stream / "1").glob("*.onnx")]
        asked.write(folder, stream, serving_default=(question, in_openvino(core, model, question)))

    onnx.save(same_model({**TYPES, "text": TensorProto.STRING}), asked.version(folder, "onnx-types") / "model.onnx")
    question = {**asked.NUMBERS, "text": asked.TEXTS}
    session = onnxruntime.InferenceSession(folder / "onnx-types" / "1" / "model.onnx")
    texts = np.array([[text.decode()] for [text] in asked.TEXTS], object)
    answers = dict(
        zip([f"{name}_out" for name in question], session.run(None, {**question, "text": texts}), strict=True)
    )
    answers["text_out"] = np.array([[text.encode()] for [text] in answers["text_out"]], object)
    asked.write(folder, "onnx-types", serving_default=(question, answers))

    ov.save_model(same_in_openvino(), asked.version(folder, "openvino-types") / "model.xml", compress_to_fp16=False)
    compiled = core.compile_model(folder / "openvino-types" / "1" / "model.xml", "CPU", F32)
    found = compiled({**asked.NUMBERS, "text": asked.TEXTS.astype("S")}, decode_strings=False)
    asked.write(
        folder,
        "openvino-types",
        serving_default=(question, {port.get_any_name(): array for port, array in found.items()}),
    )


def digits_model() -> onnx.ModelProto:
    (w1, b1), (w2, b2) = asked.mlp()
    constants = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    nodes = [
        helper.make_node("Gemm", ["image", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )


def same_model(types: dict[str, int]) -> onnx.ModelProto:
    return _model(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
        [helper.make_tensor_value_info(name, type_, ["batch", 1]) for name, type_ in types.items()],
        [helper.make_tensor_value_info(f"{name}_out", type_, ["batch", 1]) for name, type_ in types.items()],
        [],
    )


def same_in_openvino() -> ov.Model:
    outputs, inputs = [], []
    for name, array in {**asked.NUMBERS, "text": asked.TEXTS}.items():
        kind = ov.Type.string if array.dtype == object else ov.Type(array.dtype)
        parameter = ops.parameter([-1, 1], kind, name=name)
        parameter.output(0).tensor.set_names({name})
        same = ops.reshape(parameter, ops.constant(np.array([-1, 1])), special_zero=False)
        same.output(0).tensor.set_names({f"{name}_out"})
        inputs.append(parameter)
        outputs.append(same)
    return ov.Model(outputs, inputs)


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "made", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def in_onnxruntime(stream, question):
    session = onnxruntime.InferenceSession(stream / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    return {"probabilities": session.run(None, question)[0]}


def in_openvino(core, model, question):
    compiled = core.compile_model(model, "CPU", F32)
    return {"probabilities": compiled(question)[0].copy()}


if __name__ == "__main__":
    main()
