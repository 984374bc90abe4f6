"""What the clients ask in these tests: servables as small as they can be, one job each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODELS = """
import numpy as np


class Pair:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"sum": ("FP32", [-1])}

    def load(self, path):
        pass

    def predict(self, inputs):
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen is not served")
        return {"sum": inputs["x"].sum(axis=1)}


class Two(Pair):
    inputs = {"a": ("FP32", [-1, 2]), "b": ("INT64", [-1])}
    outputs = {"p": ("FP32", [-1, 2]), "q": ("FP32", [-1])}

    def predict(self, inputs):
        return {"p": inputs["a"] * 2, "q": np.float32(inputs["b"] + 1)}


class Words(Pair):
    inputs = {"text": ("BYTES", [-1])}
    outputs = {"length": ("INT64", [-1])}

    def predict(self, inputs):
        return {"length": np.array([len(text) for text in inputs["text"]])}


class Deep(Pair):
    outputs = {"y": ("FP64", [-1, 1, 2])}

    def predict(self, inputs):
        return {"y": inputs["x"].astype("f8").reshape(-1, 1, 2)}


class Nothing(Pair):
    outputs = {"y": ("FP32", [-1, 0])}

    def predict(self, inputs):
        return {"y": np.zeros((len(inputs["x"]), 0), "f4")}


class Scalar(Pair):
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, inputs):
        return {"y": inputs["x"] * 2}


class Pixels(Pair):
    inputs = {"x": ("FP32", [-1, 3, 4, 8])}
    outputs = {"mean": ("FP32", [-1, 3])}

    def predict(self, inputs):
        return {"mean": inputs["x"].mean(axis=(2, 3))}


class Sparse(Pair):
    inputs = {"x": ("FP32", [-1, 10])}
    outputs = {"y": ("FP32", [-1, 10])}

    def predict(self, inputs):
        return {"y": inputs["x"]}
"""
# By the name of the job; the first is the one that clients ask where they name none.
CLASSES = {
    "serving_stream": "Pair",
    "two": "Two",
    "words": "Words",
    "deep": "Deep",
    "nothing": "Nothing",
    "scalar": "Scalar",
    "pixels": "Pixels",
    "sparse": "Sparse",
}


def sections(folder: Path, names: dict[str, str], connector: str) -> dict[str, Any]:
    """Return the sections of settings that serve these jobs, by their names on the broker; writes their versions."""
    (folder / "job_models.py").write_text(MODELS)
    servables, routes = {}, {}
    for job, name in names.items():
        version = folder / "models" / job / "1"
        version.mkdir(parents=True)
        (version / "version").write_text("1")
        options = {"class": f"job_models:{CLASSES[job]}"}
        servables[job] = {"base_path": str(folder / "models" / job), "kind": "python", "options": options}
        routes[job] = {
            "connector": connector,
            "format": "cluster-serving",
            "servable": job,
            "request_topic": name,
            "result_topic": f"cluster-serving_{name}",
            "dead_letter_topic": f"{name}-dlt",
            "group": "serving" if connector == "redis" else f"{name}-group",
        }
    return {"servables": servables, "routes": routes, "watch": {"in_worker": True}}
