"""What a framework was asked, and what it answered: arrays in one file per stream, by signature and tensor."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]

# Every datatype that a number has, with values at its ends.
NUMBERS = {
    "bool": np.array([[True], [False], [True]]),
    "u8": np.array([[0], [1], [255]], "u1"),
    "u16": np.array([[0], [1], [65535]], "<u2"),
    "u32": np.array([[0], [1], [2**32 - 1]], "<u4"),
    "u64": np.array([[0], [1], [2**64 - 1]], "<u8"),
    "i8": np.array([[-128], [0], [127]], "i1"),
    "i16": np.array([[-(2**15)], [0], [2**15 - 1]], "<i2"),
    "i32": np.array([[-(2**31)], [0], [2**31 - 1]], "<i4"),
    "i64": np.array([[-(2**63)], [0], [2**63 - 1]], "<i8"),
    "f16": np.array([[-1.5], [0], [65504]], "<f2"),
    "f32": np.array([[-1.5], [0], [3.4e38]], "<f4"),
    "f64": np.array([[-1.5], [0], [1.7e308]], "<f8"),
}
# Their names in the protocol.
DATATYPES = {
    name: "BOOL" if name == "bool" else {"u": "UINT", "i": "INT", "f": "FP"}[name[0]] + name[1:] for name in NUMBERS
}
# What torch can copy on a CPU; its unsigned types beyond 8 bits have few operators.
TORCH_NUMBERS = {name: array for name, array in NUMBERS.items() if name not in ("u16", "u32", "u64")}
TEXTS = np.array([[b"one"], [b"zwei"], ["drei, größer".encode()]], object)


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return images of handwritten digits, float32 [1797, 64] from 0 to 1, and which digit each is, int64 [1797]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int64)


def mlp() -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return weights and biases, float32, of a network 64 -> 32 -> 10 that knows the digits; ReLU between."""
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier((32,), max_iter=30, random_state=1).fit(*digits())
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(net.coefs_, net.intercepts_, strict=True)]


def version(folder: Path, stream: str) -> Path:
    """Make and return the directory of version 1 of a stream."""
    path = folder / stream / "1"
    path.mkdir(parents=True)
    return path


def write(folder: Path, stream: str, **signatures: tuple[Arrays, Arrays]) -> None:
    """Keep what each signature was asked and what it answered; text as bytes of one length."""
    arrays = {}
    for signature, sides in signatures.items():
        for side, tensors in zip(("in", "out"), sides, strict=True):
            for name, tensor in tensors.items():
                array = np.asarray(tensor)
                arrays[f"{signature}|{side}|{name}"] = array.astype("S") if array.dtype == object else array
    np.savez(folder / f"{stream}.npz", **arrays)


def read(folder: Path, stream: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return what ``write`` has kept, text as objects again."""
    signatures: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for key, array in np.load(folder / f"{stream}.npz").items():
        signature, side, name = key.split("|")
        inputs, outputs = signatures.setdefault(signature, ({}, {}))
        (inputs if side == "in" else outputs)[name] = array.astype(object) if array.dtype.kind == "S" else array
    return signatures


def folder() -> Path:
    """Return where this process shall write."""
    return Path(sys.argv[1])
