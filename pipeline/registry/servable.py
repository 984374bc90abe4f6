"""What answers: the contract of a servable, and the description by which requests are checked before they reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from pipeline.tensors import Array


class ServableId(NamedTuple):
    """One version of one servable stream; ordered by name, then by number."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor of a signature: datatype as the Open Inference Protocol names it, -1 for an axis of any length.

    Where the signature is batched, the first axis is the batch and is -1.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(msgspec.Struct, frozen=True):
    """One way to call a servable.

    ``batched`` says that axis 0 of every tensor is the batch: rows are independent, any number of them may be joined
    into one call, and row i of each output belongs to row i of the inputs. Otherwise each request is a call of its own.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True


class Servable(Protocol):
    """One loaded version. Called from worker threads, by several at once, only while a handle is held."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The ways to call this servable; constant for its life. ``serving_default`` is used where none is named."""
        ...

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one batch and return its outputs by name.

        ``inputs`` has exactly the tensors of the signature, checked against their specs; BYTES arrives as an object
        array of bytes. The arrays may be read-only and must not be kept. Any exception becomes the error result of
        the guilty request: a batch that fails is split until its culprit stands alone.
        """
        ...
