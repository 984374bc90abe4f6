"""The records of the wire in memory: one class per file in ``schemas/`` (a test compares them both ways)."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from pipeline.description import Description
from pipeline.errors import PenstockError
from pipeline.tensors import Tensor

DEFAULT_SIGNATURE: Final = "serving_default"


class PredictRequest(msgspec.Struct, frozen=True, gc=False):
    """One request; see ``schemas/PredictRequest.avsc`` for each field."""

    id: str
    servable: str = ""
    version: int | None = None
    label: str | None = None
    signature: str = ""
    deadline_ms: int | None = None
    inputs: tuple[Tensor, ...] = ()
    parameters: dict[str, str] = {}


class Error(msgspec.Struct, frozen=True, gc=False):
    """An error as the wire carries it."""

    code: str
    message: str
    retriable: bool

    @classmethod
    def of(cls, error: BaseException) -> Error:
        """Return the wire form of any exception; one that is not ours is ``internal`` with its type and text."""
        if isinstance(error, PenstockError):
            return cls(error.code, _sendable(str(error)), error.retriable)
        return cls("internal", _sendable(f"{type(error).__name__}: {error}"), retriable=False)


def _sendable(text: str) -> str:
    """Return text in UTF-8's reach: what others raise may repeat half of a surrogate pair."""
    return text if text.isascii() else text.encode(errors="replace").decode()


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a request stood in its log."""

    topic: str
    partition: int
    offset: int


class PredictResult(msgspec.Struct, frozen=True, gc=False):
    """The one answer to a request; see ``schemas/PredictResult.avsc``."""

    id: str
    servable: str
    version: int | None = None
    outputs: tuple[Tensor, ...] = ()
    error: Error | None = None
    source: Source | None = None
    digest: str | None = None
    queue_us: int = 0
    compute_us: int = 0


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """One request that a version answers before it is available; see ``schemas/WarmUp.avsc``."""

    description: str = ""
    signature: str = ""
    inputs: tuple[Tensor, ...]
    expected: tuple[Tensor, ...] | None = None
    rtol: float | None = None
    atol: float | None = None
    iterations: int = 1
    batch_sizes: tuple[int, ...] = ()


class AspiredVersion(msgspec.Struct, frozen=True):
    """One version that shall be loaded."""

    version: int
    path: str
    digest: str | None = None
    revision: int = 0


class AspiredVersions(msgspec.Struct, frozen=True):
    """The full set of versions of one stream that shall be loaded; see ``schemas/AspiredVersions.avsc``."""

    stream: str
    versions: tuple[AspiredVersion, ...] = ()
    kind: str | None = None
    labels: dict[str, int] = {}
    pinned: bool = False
    publisher: str = ""
    published_at_ms: int = 0
    found: bool = False


class State(enum.StrEnum):
    """The life of a version, as in TensorFlow Serving; states only move forward."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


class ServableState(msgspec.Struct, frozen=True):
    """What one worker did with one version; see ``schemas/ServableState.avsc``."""

    worker: str
    stream: str
    version: int
    state: State
    error: Error | None = None
    generation: int = -1
    incarnation: int = 1
    kind: str | None = None
    path: str | None = None
    digest: str | None = None
    load_ms: int | None = None
    estimate_bytes: int | None = None
    memory_bytes: int | None = None
    at_ms: int = 0
    description: Description | None = None

    @property
    def key(self) -> str:
        """Key of this record in its compacted topic."""
        return f"{self.worker}/{self.stream}/{self.version}/{self.incarnation}"


class StreamState(msgspec.Struct, frozen=True):
    """How far one worker has followed the aspirations of one stream."""

    stream: str
    generation: int = -1
    is_settled: bool = False
    available: tuple[int, ...] = ()
    labels: dict[str, int] = {}
    notes: tuple[str, ...] = ()


class WorkerState(msgspec.Struct, frozen=True):
    """A sign of life of one worker; see ``schemas/WorkerState.avsc``."""

    worker: str
    started_at_ms: int
    at_ms: int
    interval_ms: int
    streams: tuple[StreamState, ...] = ()

    @property
    def key(self) -> str:
        """Key of this record in its compacted topic; no ServableState has it, their keys have slashes."""
        return self.worker
