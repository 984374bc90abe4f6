"""What is asked for: the rows that requests carry. One request is one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import model

if TYPE_CHECKING:
    from benchmarks.model import Floats


def request_id(number: int) -> str:
    """Return the id of the ``number``-th request of a load; it is the key, too."""
    return f"request-{number:09d}"


def number_of(request_id: str) -> int:
    """Return the number of a request of a load, whose id this is."""
    return int(request_id.removeprefix("request-"))


@dataclass(frozen=True)
class Workload:
    """A network by what goes in and what comes out; ``distinct`` rows are asked for again and again."""

    name: str
    input: str
    output: str
    row_shape: tuple[int, ...]
    classes: int
    distinct: int

    def rows(self) -> Floats:
        """Return the distinct rows, standard normal float32 [distinct, *row_shape]; the same every time."""
        return np.random.default_rng(1).standard_normal((self.distinct, *self.row_shape), np.float32)


MLP: Final = Workload(model.NAME, model.INPUT, model.OUTPUT, (model.FEATURES,), model.CLASSES, 251)
# The same with so many hidden units that its weights have ResNet-50's size, for what computes no convolutions.
WIDE: Final = Workload(f"wide-{model.NAME}", model.INPUT, model.OUTPUT, (model.FEATURES,), model.CLASSES, 251)
WIDE_HIDDEN: Final = 345_000
IMAGES: Final = Workload("resnet50", "image", "probabilities", (3, 224, 224), 1000, 16)
# TensorFlow's convolutions take the channels last on a CPU, the others' first.
CHANNELS_LAST: Final = Workload("resnet50-channels-last", "image", "probabilities", (224, 224, 3), 1000, 16)
# Trees on handwritten digits.
DIGITS: Final = Workload("digits", "x", "probabilities", (64,), 10, 251)
# Two floats, for clients that only ask: no model answers them.
PAIR: Final = Workload("pair", "x", "", (2,), 0, 251)

WORKLOADS: Final = {one.name: one for one in (MLP, IMAGES, CHANNELS_LAST, DIGITS)}
