"""A SavedModel and a frozen graph of one small network, written by TensorFlow in a process of its own, once a run."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

# Freezes by hand: TensorFlow's own converter needs its eager functions, and calls other tensors the outputs.
_WRITE: Final = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf

class Network(tf.Module):
    def __init__(self):
        random = np.random.default_rng(5)
        self.first = tf.Variable(random.normal(size=(64, 32)).astype("f4") / 4)
        self.second = tf.Variable(random.normal(size=(32, 10)).astype("f4") / 4)

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="x")])
    def __call__(self, x):
        hidden = tf.nn.relu(x @ self.first, name="hidden")
        return {"y": tf.nn.softmax(hidden @ self.second, name="probabilities")}

folder, network = Path(sys.argv[1]), Network()
tf.saved_model.save(network, str(folder / "saved_model"), signatures=network.__call__)
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
frozen = convert_variables_to_constants_v2(network.__call__.get_concrete_function())
(folder / "frozen").mkdir()
graph = frozen.graph.as_graph_def().SerializeToString(deterministic=True)
(folder / "frozen" / "frozen_inference_graph.pb").write_bytes(graph)
x = np.random.default_rng(6).normal(size=(5, 64)).astype("f4")
hidden = tf.nn.relu(x @ network.first)
np.savez(folder / "answers.npz", x=x, hidden=hidden, y=network(x)["y"])
"""


@functools.cache
def written() -> Path:
    """Return a folder with ``saved_model/``, ``frozen/`` and ``answers.npz`` (x, hidden, y as TensorFlow has them)."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-tensorflow-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = subprocess.run(  # this Python, with code of ours
        [sys.executable, "-c", _WRITE, str(folder)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def copy(name: str, path: Path) -> Path:
    """Make a version of what is in the folder; return it."""
    shutil.copytree(written() / name, path)
    return path
