"""The options of a TensorFlow model."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pipeline.registry.options import Options

_Count = Annotated[int, msgspec.Meta(ge=1)]


class TensorFlowOptions(Options, frozen=True):
    """Options of a model; what is None is TensorFlow's to choose.

    ``tags`` choose the graph of a SavedModel, ``signatures`` which of its signatures are served (all by default),
    ``batched`` whether axis 0 is the batch, for all or by signature: by default where it is unknown in all tensors.
    ``inter_op_threads`` run independent operations of this model; ``intra_op_threads`` compute one operation, and are
    shared by all models of a process: the first that is loaded sets them. ``allow_ops`` names operations to allow
    although they do more than compute.
    """

    tags: tuple[str, ...] = ("serve",)
    signatures: tuple[str, ...] | None = None
    batched: bool | dict[str, bool] | None = None
    intra_op_threads: _Count | None = None
    inter_op_threads: _Count | None = None
    allow_ops: tuple[str, ...] = ()

    def batched_of(self, signature: str) -> bool | None:
        """Return what is declared for a signature, None where nothing is."""
        return self.batched.get(signature) if isinstance(self.batched, dict) else self.batched
