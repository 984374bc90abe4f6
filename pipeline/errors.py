"""The error tree: every way in which Penstock says no, each with a code that is part of the wire.

::

    PenstockError
    ├── BadRequest            the request is at fault; sending it again fails again
    │   ├── Undecodable, RecordTooLarge, NoInputs, TooManyTensors
    │   ├── UnknownInput, MissingInput, WrongDatatype, WrongShape, InvalidInput, UnknownSignature
    │   ├── UnknownServable, UnknownVersion, UnknownLabel
    │   ├── DeadlineExceeded, ReplyRefused, ResultTooLarge, NotRepresentable, PoisonRecord
    ├── NotReady              nothing can answer now; the same request may succeed later
    ├── SchemaUnavailable     the schema registry does not say now what a record was written with
    ├── ModelFailed           the servable raised, or returned what its signature does not allow
    ├── ServableDied          the process of an isolated servable ended while it computed, or does not come back
    ├── PredictTimedOut       an isolated servable did not answer in time; its process was killed
    ├── CircuitOpen           the servable failed whole batches in a row; this request was set aside, not computed
    ├── LoadFailed            a version can not be loaded; its state record carries this
    │   ├── InvalidArtefact, PathRefused, FetchFailed, UnknownKind, AmbiguousKind, MissingExtra, LoadCancelled
    │   ├── WarmUpFailed, GoldenMismatch, WorkerLost
    ├── InsufficientMemory    a version does not fit into the memory that is allowed
    ├── InvalidSettings       penstock.yaml, a variable or an argument
    ├── WrongTopic            a topic whose settings would lose requests or versions; a worker does not run on it
    ├── PluginError           an entry point is missing, doubled or broken
    ├── ConnectorError        the broker refused or can not be reached
    │   ├── AccessDenied, AuthenticationFailed, TlsFailed
    ├── TimedOut              a client waited as long as it was told to
    └── RemoteError           an error result, raised in the client with the code that the wire carried

``code`` is stable and appears in results, states, headers and metrics. ``retriable`` says whether the same request may
succeed later; raised by a servable it also says that no request is to blame, so that all of the call are answered with
it. The evidence is kept as fields, and every error survives pickling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(eq=False)
class PenstockError(Exception):
    """Base of the tree; catch this to catch all that Penstock raises on purpose.

    ``cost_a_process`` is of what an isolated servable's process ended with: each further try may cost another.
    """

    code: ClassVar[str] = "internal"
    retriable: ClassVar[bool] = False
    cost_a_process: ClassVar[bool] = False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        return ", ".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self)) or self.code

    def without_frames(self) -> Self:
        """Return this error, its traceback, cause and context removed: for whoever keeps it.

        Their frames hold what was at work; where that holds the error, both would never be freed.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class BadRequest(PenstockError):
    """The request is at fault; sending the same one again fails again."""

    code = "bad_request"


@dataclass(eq=False)
class Undecodable(BadRequest):
    """The bytes of a record are not what their content type, or their own magic, says."""

    reason: str
    code = "undecodable"

    def __str__(self) -> str:
        return f"the record can not be decoded: {self.reason}"


@dataclass(eq=False)
class RecordTooLarge(BadRequest):
    """A record is larger than the route allows; it was not decoded."""

    size_bytes: int
    limit_bytes: int
    code = "record_too_large"

    def __str__(self) -> str:
        return (
            f"the record has {self.size_bytes} bytes, the limit is {self.limit_bytes}; "
            "raise max_record_bytes of the route, or send fewer rows in one record"
        )


@dataclass(eq=False)
class TooManyTensors(BadRequest):
    """A request names more tensors than the route allows."""

    got: int
    limit: int
    code = "too_many_tensors"

    def __str__(self) -> str:
        return f"the request has {self.got} tensors, the limit is {self.limit}; raise max_tensors of the route"


@dataclass(eq=False)
class NoInputs(BadRequest):
    """A request without a single input tensor."""

    reason: str = "the request has no input tensors"
    code = "no_inputs"

    def __str__(self) -> str:
        return f"{self.reason}; send at least one input tensor"


@dataclass(eq=False)
class UnknownInput(BadRequest):
    """A request names a tensor that the signature does not have, or names one twice."""

    servable: str
    tensor: str
    expected: tuple[str, ...]
    code = "unknown_input"

    def __str__(self) -> str:
        return f"{self.servable}: unknown or repeated input tensor {self.tensor!r}, expected {', '.join(self.expected)}"


@dataclass(eq=False)
class MissingInput(BadRequest):
    """A request lacks a tensor of the signature."""

    servable: str
    tensor: str
    got: tuple[str, ...]
    code = "missing_input"

    def __str__(self) -> str:
        return f"{self.servable}: input tensor {self.tensor!r} is missing, got {', '.join(self.got)}"


@dataclass(eq=False)
class WrongDatatype(BadRequest):
    """A tensor's datatype differs from the signature's."""

    servable: str
    tensor: str
    expected: str
    got: str
    code = "wrong_datatype"

    def __str__(self) -> str:
        return f"{self.servable}: tensor {self.tensor!r} has datatype {self.got}, expected {self.expected}"


@dataclass(eq=False)
class WrongShape(BadRequest):
    """A tensor's shape does not fit the signature's, or another tensor's in an axis that both have.

    -1 is an axis of any length; ``reason`` says more where it is not the signature's shape that is expected.
    """

    servable: str
    tensor: str
    expected: tuple[int, ...]
    got: tuple[int, ...]
    reason: str = ""
    code = "wrong_shape"

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        shapes = f"has shape {list(self.got)}, expected {list(self.expected)}"
        return f"{self.servable}: tensor {self.tensor!r} {shapes}{reason}"


@dataclass(eq=False)
class InvalidInput(BadRequest):
    """One row of a tensor holds what the servable can not compute with: bytes that are no image, for instance.

    ``row`` is its place in the request where that was computed alone, which a batch that fails ends in.
    """

    servable: str
    tensor: str
    row: int
    reason: str
    code = "invalid_input"

    def __str__(self) -> str:
        return f"{self.servable}: tensor {self.tensor!r}, row {self.row}: {self.reason}"


@dataclass(eq=False)
class UnknownSignature(BadRequest):
    """The servable has no signature of that name."""

    servable: str
    signature: str
    expected: tuple[str, ...]
    code = "unknown_signature"

    def __str__(self) -> str:
        return f"{self.servable}: unknown signature {self.signature!r}, expected one of {', '.join(self.expected)}"


@dataclass(eq=False)
class UnknownServable(BadRequest):
    """No servable stream of that name is aspired on this worker."""

    servable: str
    known: tuple[str, ...]
    code = "unknown_servable"

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"unknown servable {self.servable!r}; this worker serves: {known}"


@dataclass(eq=False)
class UnknownVersion(BadRequest):
    """The stream exists, and the version that was asked for is not available."""

    servable: str
    version: int
    available: tuple[int, ...]
    code = "unknown_version"

    def __str__(self) -> str:
        available = ", ".join(map(str, self.available)) or "none"
        return f"{self.servable}: version {self.version} is not available; available: {available}"


@dataclass(eq=False)
class UnknownLabel(BadRequest):
    """The stream has no such label."""

    servable: str
    label: str
    known: tuple[str, ...]
    code = "unknown_label"

    def __str__(self) -> str:
        return f"{self.servable}: unknown label {self.label!r}; known: {', '.join(self.known) or 'none'}"


@dataclass(eq=False)
class DeadlineExceeded(BadRequest):
    """The request's deadline had passed before the computation began; it was not computed."""

    deadline_ms: int
    now_ms: int
    code = "deadline_exceeded"

    def __str__(self) -> str:
        return (
            f"the deadline passed {self.now_ms - self.deadline_ms} ms before the computation could begin; "
            "allow more time, add workers, or compare the clocks of client and worker"
        )


@dataclass(eq=False)
class ReplyRefused(BadRequest):
    """A request asks for its answer on a topic that the route's allow-list does not match."""

    topic: str
    allowed: tuple[str, ...]
    code = "reply_refused"

    def __str__(self) -> str:
        allowed = ", ".join(self.allowed) or "only the route's result topic"
        return f"reply topic {self.topic!r} is not allowed (allowed: {allowed}); add it to reply_topics of the route"


@dataclass(eq=False)
class ResultTooLarge(BadRequest):
    """The outputs of a request do not fit into one record of the result topic."""

    servable: str
    size_bytes: int
    limit_bytes: int
    code = "result_too_large"

    def __str__(self) -> str:
        return (
            f"{self.servable}: the result, with the key and headers that it repeats, has {self.size_bytes} bytes, the "
            f"limit is {self.limit_bytes}; send fewer rows in one request, or raise max_result_bytes of the route "
            "together with the topic's max.message.bytes"
        )


@dataclass(eq=False)
class NotRepresentable(BadRequest):
    """Tensors have no form in the format of their request: text, or no elements, where only numbers have one."""

    reason: str
    code = "not_representable"

    def __str__(self) -> str:
        return f"there is no form for this in the format of the request: {self.reason}; ask in another format"


@dataclass(eq=False)
class PoisonRecord(BadRequest):
    """Workers were killed, one after the other, while they had this record alone; it was set aside, not computed."""

    kills: int
    code = "poison_record"

    def __str__(self) -> str:
        return (
            f"{self.kills} workers in a row were killed while they had this record, so it is set aside; it is in the "
            "dead-letter topic, see `penstock dead-letters`, and the workers' logs may say what killed them"
        )


@dataclass(eq=False)
class NotReady(PenstockError):
    """The stream is known, and none of its versions is available at this moment."""

    servable: str
    states: tuple[str, ...]
    code = "not_ready"
    retriable = True

    def __str__(self) -> str:
        return f"{self.servable}: no version is available now ({'; '.join(self.states) or 'none aspired'})"


@dataclass(eq=False)
class SchemaUnavailable(PenstockError):
    """The schema that a record names can not be had from the schema registry now, so the record is not read.

    ``name`` are the bytes that name it, ``schema`` the same for people.
    """

    schema: str
    name: bytes
    reason: str
    code = "schema_unavailable"
    retriable = True

    def __str__(self) -> str:
        return f"the schema with {self.schema} can not be had now: {self.reason}; send the request again later"


@dataclass(eq=False)
class ModelFailed(PenstockError):
    """The servable raised, or returned something that its signature does not allow."""

    servable: str
    reason: str
    code = "model_error"

    def __str__(self) -> str:
        return f"{self.servable}: {self.reason}"


@dataclass(eq=False)
class ServableDied(PenstockError):
    """The process of an isolated servable ended while it computed, or has not come back since.

    ``how`` it ended, the signal's name included, and ``next`` say what is being done about it.
    """

    servable: str
    how: str
    next: str
    code = "servable_died"
    retriable = True
    cost_a_process = True

    def __str__(self) -> str:
        return f"{self.servable}: its process {self.how}; {self.next}"


@dataclass(eq=False)
class PredictTimedOut(PenstockError):
    """An isolated servable did not answer within the time that its stream allows."""

    servable: str
    timeout_s: float
    reason: str
    code = "predict_timed_out"
    retriable = True
    cost_a_process = True

    def __str__(self) -> str:
        return (
            f"{self.servable}: no answer within {self.timeout_s:g} s, {self.reason}; where it may take longer, raise "
            "predict_timeout_s of the servable"
        )


@dataclass(eq=False)
class CircuitOpen(PenstockError):
    """The servable failed so many batches in a row that the circuit of the route is open: the request was set aside.

    It lies in the route's dead-letter topic and was not computed. ``last_error`` is what the last batch failed with.
    """

    servable: str
    failed_batches: int
    last_error: str
    code = "circuit_open"
    retriable = True

    def __str__(self) -> str:
        return (
            f"{self.servable}: not computed, because {self.failed_batches} batches in a row failed, the last with "
            f"{self.last_error}; the request lies in the dead-letter topic"
        )


@dataclass(eq=False)
class LoadFailed(PenstockError):
    """A version can not be loaded; the last one that worked keeps serving."""

    what: str
    reason: str
    code = "load_failed"

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class InvalidArtefact(LoadFailed):
    """The files of a version are not a servable of their kind."""

    code = "invalid_artefact"


class PathRefused(LoadFailed):
    """A version's path lies outside the storage roots of this worker."""

    code = "path_refused"


class FetchFailed(LoadFailed):
    """The object store of a version can not be reached, or has other content than was aspired."""

    code = "fetch_failed"
    retriable = True


class UnknownKind(LoadFailed):
    """No kind of servable was named, and the files do not tell which it is."""

    code = "unknown_kind"


class AmbiguousKind(LoadFailed):
    """The files of a version fit several kinds of servables; name one in the settings."""

    code = "ambiguous_kind"


class LoadCancelled(LoadFailed):
    """A version was un-aspired before its load had finished."""

    code = "load_cancelled"


class WorkerLost(LoadFailed):
    """A worker ended without saying so; its next life says it in its place."""

    code = "worker_lost"


@dataclass(eq=False)
class InsufficientMemory(PenstockError):
    """A version does not fit into the memory that loaded versions may need together."""

    what: str
    needed_bytes: int
    reserved_bytes: int
    limit_bytes: int
    code = "insufficient_memory"

    def __str__(self) -> str:
        return (
            f"{self.what}: needs {self.needed_bytes} bytes, {self.limit_bytes - self.reserved_bytes} of "
            f"{self.limit_bytes} are free; unload another version, raise memory_limit_bytes of the worker, or set "
            "transition: resource_preserving"
        )


@dataclass(eq=False)
class MissingExtra(LoadFailed):
    """A package that this kind needs is not installed."""

    extra: str = ""
    code = "missing_extra"

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}; install it with: pip install 'penstock-serving[{self.extra}]'"


@dataclass(eq=False)
class WarmUpFailed(LoadFailed):
    """A version's warm-up file can not be read, lacks what is required, or a request in it was not answered.

    ``record`` is its position in the file from 0, -1 where the file itself is at fault.
    """

    record: int = -1
    description: str = ""
    code = "warm_up_failed"

    def __str__(self) -> str:
        return f"{self.what}: {_warm_up_record(self.record, self.description)}{self.reason}"


@dataclass(eq=False)
class GoldenMismatch(LoadFailed):
    """A version answers a golden request otherwise than expected.

    The evidence: which ``record`` (its position in the file from 0), computed with how many ``rows``, which output
    ``tensor``, the index of its first bad ``element`` (empty where datatype, shape or name differ), what was
    ``expected`` there and ``got`` (text, cut where it is long), the ``tolerance`` at that element, how many
    ``bad_elements`` of ``elements``, and the largest error among them (NaN where none is a number, as for text).
    """

    record: int
    description: str
    rows: int
    tensor: str
    element: tuple[int, ...] = ()
    expected: str = ""
    got: str = ""
    tolerance: float = 0.0
    bad_elements: int = 0
    elements: int = 0
    max_abs_error: float = math.nan
    code = "golden_mismatch"

    def __str__(self) -> str:
        where = f"{self.what}: {_warm_up_record(self.record, self.description)}output {self.tensor!r}"
        if not self.bad_elements:
            return f"{where} {self.reason}: expected {self.expected}, got {self.got}"
        largest = "" if math.isnan(self.max_abs_error) else f", the largest error is {self.max_abs_error:.6g}"
        within = f" within {self.tolerance:.6g}" if self.tolerance else ""
        return (
            f"{where} {self.reason}: element {list(self.element)} is {self.got}, expected {self.expected}{within}; "
            f"{self.bad_elements} of {self.elements} are off{largest} (at {self.rows} rows)"
        )


def _warm_up_record(record: int, description: str) -> str:
    return f"warm-up.avro record {record}{f' ({description})' if description else ''}: " if record >= 0 else ""


@dataclass(eq=False)
class InvalidSettings(PenstockError):
    """penstock.yaml, a PENSTOCK_* variable or a command's argument is wrong."""

    where: str
    reason: str
    code = "invalid_settings"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(eq=False)
class WrongTopic(PenstockError):
    """A topic is set up so that requests or versions would be lost."""

    topic: str
    reason: str
    next_step: str
    code = "wrong_topic"

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.reason}; correct it with: {self.next_step}"


@dataclass(eq=False)
class PluginError(PenstockError):
    """An entry point is missing, claimed twice, or can not be imported."""

    group: str
    name: str
    reason: str
    code = "plugin_error"

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.group}: {self.reason}"


@dataclass(eq=False)
class ConnectorError(PenstockError):
    """The broker refused something, or can not be reached within the time that was set."""

    what: str
    reason: str
    code = "connector_error"
    retriable = True

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(eq=False)
class AccessDenied(ConnectorError):
    """The broker has let this client in, and an ACL is missing for what it wants to do.

    The evidence: ``principal`` as Kafka writes it (a placeholder where this client can not know it), ``operation``,
    ``resource_type`` (topic, group, transactional-id, cluster) and ``resource_name``.
    """

    principal: str = ""
    operation: str = ""
    resource_type: str = ""
    resource_name: str = ""
    code = "access_denied"
    retriable = False


class AuthenticationFailed(ConnectorError):
    """The broker does not take this client's password, token or mechanism."""

    code = "authentication_failed"
    retriable = False


class TlsFailed(ConnectorError):
    """This client and the broker do not agree on a TLS connection: trust, names, certificates, or TLS at all."""

    code = "tls_failed"
    retriable = False


@dataclass(eq=False)
class TimedOut(PenstockError):
    """No answer came in the time that the caller was willing to wait; the request may still be answered."""

    what: str
    timeout_s: float
    code = "timed_out"
    retriable = True

    def __str__(self) -> str:
        return f"{self.what}: nothing within {self.timeout_s:g} s; look at `penstock versions` and at the worker's log"


@dataclass(eq=False)
class RemoteError(PenstockError):
    """An error result, raised in the client; ``code`` and ``retriable`` are those that the wire carried."""

    id: str
    wire_code: str
    message: str
    wire_retriable: bool

    def __post_init__(self) -> None:
        self.code, self.retriable = self.wire_code, self.wire_retriable  # type: ignore[misc]  # per instance here: the wire says

    def __str__(self) -> str:
        return f"{self.wire_code}: {self.message} (request {self.id})"


def kinds() -> dict[str, type[PenstockError]]:
    """Return the classes of the tree by code, without those whose code is given to each instance."""
    found = [PenstockError]
    for kind in found:
        found += [child for child in kind.__subclasses__() if child.__module__ == __name__]
    return {kind.code: kind for kind in found if kind is not RemoteError}
