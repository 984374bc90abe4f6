"""A Python class, the image and top-k steps, and a pipeline of image, network and top-k."""

from __future__ import annotations

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from tests.acceptance.kinds import asked

SERVABLE = """
import numpy as np

class Servable:
    inputs = {"text": ("BYTES", [-1]), "times": ("INT32", [-1])}
    outputs = {"text": ("BYTES", [-1])}

    async def predict(self, inputs):
        return {"text": np.array([t * n for t, n in zip(inputs["text"], inputs["times"])], object)}
"""
SAME = """
TYPES = {types}

class Servable:
    inputs = TYPES
    outputs = {{f"{{name}}_out": spec for name, spec in TYPES.items()}}

    def predict(self, inputs):
        return {{f"{{name}}_out": array for name, array in inputs.items()}}
"""
RECIPE = "width: 8\nheight: 8\ncolour: GRAY\nresize: exact\nscale: 255\n"
PIPELINE = """
steps:
  - {kind: image, path: image}
  - {kind: openvino, path: digits}
  - {kind: top-k, path: best, inputs: {values: probabilities}}
outputs: [classes, scores]
"""


def main() -> None:
    folder = asked.folder()
    (asked.version(folder, "python") / "servable.py").write_text(SERVABLE)
    texts, times = np.array([b"ab", b"\xff", b"c"], object), np.array([2, 1, 3], np.int32)
    answers = np.array([b"abab", b"\xff", b"ccc"], object)
    asked.write(folder, "python", serving_default=({"text": texts, "times": times}, {"text": answers}))

    types = {**{name: (kind, [-1, 1]) for name, kind in asked.DATATYPES.items()}, "text": ("BYTES", [-1, 1])}
    (asked.version(folder, "python-types") / "servable.py").write_text(SAME.format(types=types))
    question = {**asked.NUMBERS, "text": asked.TEXTS}
    same = {f"{name}_out": array for name, array in question.items()}
    asked.write(folder, "python-types", serving_default=(question, same))

    images, _ = asked.digits()
    pixels = np.rint(images[:20].reshape(-1, 8, 8) * 255).astype(np.uint8)
    encoded = np.array([cv2.imencode(".png", one)[1].tobytes() for one in pixels], object)
    tensor = (pixels[:, None] / np.float32(255)).astype(np.float32)
    (asked.version(folder, "image") / "image.yaml").write_text(RECIPE)
    asked.write(folder, "image", serving_default=({"image": encoded}, {"pixels": tensor}))

    probabilities = network()(tensor)[0].copy()
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    outputs = {"classes": best, "scores": np.take_along_axis(probabilities, best, axis=1)}
    (asked.version(folder, "top-k") / "top-k.yaml").write_text("k: 3\n")
    asked.write(folder, "top-k", serving_default=({"values": probabilities}, outputs))

    path = asked.version(folder, "pipeline")
    for step, name, text in (("image", "image.yaml", RECIPE), ("best", "top-k.yaml", "k: 3\n")):
        (path / step).mkdir()
        (path / step / name).write_text(text)
    (path / "digits").mkdir()
    ov.save_model(graph(), path / "digits" / "model.xml", compress_to_fp16=False)
    (path / "pipeline.yaml").write_text(PIPELINE)
    asked.write(folder, "pipeline", serving_default=({"image": encoded}, outputs))


def times(rows, weights):
    return ops.matmul(rows, ops.constant(weights), transpose_a=False, transpose_b=False)


def graph() -> ov.Model:
    (w1, b1), (w2, b2) = asked.mlp()
    pixels = ops.parameter([-1, 1, 8, 8], ov.Type.f32, name="pixels")
    rows = ops.reshape(pixels, ops.constant(np.array([-1, 64])), special_zero=False)
    hidden = ops.relu(ops.add(times(rows, w1), ops.constant(b1)))
    answer = ops.softmax(ops.add(times(hidden, w2), ops.constant(b2)), 1)
    pixels.output(0).tensor.set_names({"pixels"})
    answer.output(0).tensor.set_names({"probabilities"})
    return ov.Model([answer], [pixels])


def network() -> ov.CompiledModel:
    return ov.Core().compile_model(graph(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


if __name__ == "__main__":
    main()
