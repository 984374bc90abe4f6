"""Artefacts that mean harm, made by the frameworks themselves: each would leave ``FOLDER/bomb-STREAM`` if it could.

A process of its own, as the other modules here; it writes no answers.
"""

from __future__ import annotations

import re
import zipfile

import numpy as np
import openvino as ov
import tensorflow as tf
import torch
from openvino import opset13 as ops

from tests.acceptance.kinds import asked
from tests.unit.servables.torch_files import Touch


def main() -> None:
    folder = asked.folder()

    torch.save({"hidden.weight": Touch(folder / "bomb-pickle")}, asked.version(folder, "pickle") / "model.pth")

    with zipfile.ZipFile(asked.version(folder, "zip") / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.npy", b"\0" * (1 << 30))
        archive.writestr("schema.json", "{}")

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def call(x):
        tf.io.write_file(str(folder / "bomb-graph"), "written")
        return {"y": x}

    tf.saved_model.save(module, str(asked.version(folder, "graph")), signatures={"serving_default": call})

    version = asked.version(folder, "library")
    x = ops.parameter([-1, 2], ov.Type.f32)
    weights = ops.constant(np.ones(2, np.float32))
    ov.save_model(ov.Model([ops.add(ops.relu(x), weights)], [x]), version / "model.xml", compress_to_fp16=False)
    text = (version / "model.xml").read_text()
    changed, count = re.subn(r'type="ReLU" version="opset1"', 'type="Evil" version="extension"', text)
    assert count == 1
    (version / "model.xml").write_text(changed)


if __name__ == "__main__":
    main()
