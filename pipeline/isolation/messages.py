"""What a worker and the child process of a version say to each other: one question, one answer, then the next."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.description import Description
from pipeline.isolation.failures import Failure


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """Where a tensor lies in a segment of shared memory: its bytes as in ``Tensor.data``, from ``offset`` on."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


class Load(msgspec.Struct, frozen=True, tag=True):
    """The first question: load this version. ``adapter`` is ``module:name`` where no entry point names the kind.

    ``niceness`` is by how much the load gives way to everything else.
    """

    kind: str
    adapter: str
    name: str
    version: int
    path: str
    options: dict[str, Any]
    niceness: int = 0


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The version is loaded: its description with its signatures, and the estimate of what it needs."""

    description: Description
    estimate_bytes: int | None


class Call(msgspec.Struct, frozen=True, tag=True):
    """Predict. The inputs lie in the last segment that came with a call, this one included."""

    signature: str
    inputs: tuple[Placed, ...]


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The outputs, in the last segment that came with an answer, this one included."""

    outputs: tuple[Placed, ...]


class Unload(msgspec.Struct, frozen=True, tag=True):
    """The last question: unload, answer, end."""


class Unloaded(msgspec.Struct, frozen=True, tag=True):
    """The version is unloaded, and the process is about to end."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """What was asked raised this."""

    failure: Failure


Message = Load | Loaded | Call | Answered | Unload | Unloaded | Failed

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the message as msgpack."""
    return _encoder.encode(message)


def decode(data: bytes | memoryview) -> Message:
    """Return the message; raises ValueError for bytes that are none."""
    try:
        message: Message = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    return message
