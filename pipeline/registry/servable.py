"""What answers: the contract of a servable, and the description by which requests are checked before they reach it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from pipeline.description import Description, Signature, TensorSpec
from pipeline.tensors import Array

__all__ = ["Description", "Servable", "ServableId", "Signature", "TensorSpec", "describe"]


class ServableId(NamedTuple):
    """One version of one servable stream; ordered by name, then by number."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def describe(servable: Servable) -> Description:
    """Return what a servable says of itself, its signatures filled in; of one that says nothing, those alone.

    What it returns can be written to the wire, whatever kinds of text and numbers the servable's framework has; raises
    TypeError, and msgspec.ValidationError, for what is neither.
    """
    own = getattr(servable, "description", None) or Description()
    full = msgspec.structs.replace(own, signatures=dict(servable.signatures))
    return msgspec.json.decode(msgspec.json.encode(full, enc_hook=_plain), type=Description)


def _plain(value: Any) -> Any:
    """Return the text that a subclass of str is (torch.__version__ is one), the number of a numpy integer."""
    if isinstance(value, str):
        return str.__str__(value)
    return operator.index(value)


class Servable(Protocol):
    """One loaded version. Called from worker threads, by several at once, only while a handle is held.

    It may have an attribute ``description``, a Description without signatures, constant for its life.
    """

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The ways to call this servable; constant for its life. ``serving_default`` is used where none is named."""
        ...

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one batch and return its outputs by name.

        ``inputs`` has exactly the tensors of the signature, checked against their specs; BYTES arrives as an object
        array of bytes. The arrays may be read-only and must not be kept. Any exception becomes the error result of
        the guilty request: a batch that fails is split until its culprit stands alone. An error of the tree that is
        retriable blames no request: all of the batch are answered with it, and nothing is tried again.
        """
        ...
