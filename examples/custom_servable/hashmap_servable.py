"""A kind of servable of its own: files of ``key,value`` lines become lookup tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.registry.options import Options
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.tensors import Array

FILE = "hashmap.txt"


class HashmapOptions(Options, frozen=True):
    """What ``options`` of a stream may say."""

    separator: str = ","


class Hashmap(dict[bytes, bytes]):
    """The servable: any class with signatures and ``predict`` is one. A key that is missing fails its request."""

    signatures: Mapping[str, Signature] = {
        "serving_default": Signature((TensorSpec("key", "BYTES", (-1,)),), (TensorSpec("value", "BYTES", (-1,)),))
    }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Look up row by row; ``signature`` is always the one above."""
        return {"value": np.array([self[key] for key in inputs["key"]], object)}


def read_hashmap(id: ServableId, path: Path, options: HashmapOptions) -> Hashmap:
    """Load one version; the first of two equal keys counts."""
    hashmap = Hashmap()
    for number, line in enumerate((path / FILE).read_bytes().splitlines(), 1):
        cells = line.split(options.separator.encode())
        if len(cells) != 2:
            raise InvalidArtefact(str(id), f"line {number} has {len(cells)} columns, expected a key and a value")
        hashmap.setdefault(*cells)
    return hashmap


def adapter() -> SimpleAdapter:
    """Return the source adapter; the entry point names this function, and a worker calls it once."""
    return SimpleAdapter(
        kind="hashmap",
        looks_for=FILE,
        detect=lambda path: (path / FILE).is_file(),
        create=read_hashmap,
        options=HashmapOptions,
        estimate_bytes=lambda path: 100 * (path / FILE).stat().st_size,
    )
