"""InputQueue: requests go in; ``predict`` also waits for the answer."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Mapping
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self, Unpack

from pipeline.client.connection import Connection
from pipeline.client.outgoing import Outgoing
from pipeline.client.queue import Queue, QueueOptions
from pipeline.client.reply_table import Outcome
from pipeline.client.request import RequestData, RequestOptions, complete, headers_of, parse
from pipeline.client.values import Value, value_of
from pipeline.client.wire import check_format
from pipeline.errors import ConnectorError, PenstockError, TimedOut
from pipeline.records import PredictRequest

log = logging.getLogger(__name__)

# How long a call may wait for room in the producer's queue.
SEND_TIMEOUT_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 10.0


class InputQueue(Queue):
    """Sends requests to a route; see QueueOptions for where, RequestOptions for what may be said about one.

    The constructor does nothing on the network: the first use connects, or ``open``, or ``with``. Any thread may call
    any method. Every method raises ConnectorError when the broker can not be reached or did not take an earlier
    request.

    ::

        with InputQueue("digits", bootstrap="kafka:9092", servable="digits") as queue:
            queue.predict({"pixels": array}, timeout=2, version=3)
    """

    def __init__(
        self,
        route: str = "serving",
        *,
        servable: str = "",
        format: str = "avro",  # noqa: A002  # the settings' word
        **options: Unpack[QueueOptions],
    ) -> None:
        """``servable``: who answers where a request names nobody.

        ``format``: of requests, and so of their results; ``avro``, ``json``, or the name of a codec that is installed.
        """
        super().__init__(route, **options)
        self._servable = servable
        self._format = check_format(format)

    def open(self) -> Self:
        """Connect now; ConnectorError after the connect timeout, or where a topic does not exist."""
        self._opened(to_send=True)
        return self

    def enqueue(self, uri: str | None = None, **data: object) -> str:
        """Send one request and return its id: ``uri``, or a new one for None. Every keyword is a tensor.

        Returns before the broker has taken it, and waits only while the producer's queue is full. A request that the
        broker does not take is raised by a later call, by ``flush`` or by ``close``. See ``send`` for versions and the
        like, and for a tensor of the name ``uri``; see values.tensor_of for what a tensor may be.
        """
        return self.send(data, id=uri)

    def send(
        self,
        request_data: RequestData,
        *,
        id: str | None = None,  # noqa: A002  # the record's word
        **options: Unpack[RequestOptions],
    ) -> str:
        """Send one request with all that may be said about it, and return its id; as ``enqueue`` otherwise.

        ``request_data`` is what ``predict`` takes.
        """
        connection = self._opened(to_send=True)
        request = build(connection, self._servable, parse(request_data), id, options)
        connection.table.expect(request.id)
        connection.sender.send(encode(connection, self._format, request, options), SEND_TIMEOUT_S)
        return request.id

    def enqueue_many(
        self, items: Iterable[tuple[str | None, Mapping[str, object]]], **options: Unpack[RequestOptions]
    ) -> list[str]:
        """Send many requests, (uri, data) each, and return their ids in order; ``options`` hold for all of them.

        They are sent as the iterable yields them. Returns before the broker has taken them all: ``flush`` waits for
        that. What one of them raises, as in ``send``, ends it, and those before it are sent.
        """
        return [self.send(data, id=uri, **options) for uri, data in items]

    def predict(self, request_data: RequestData, timeout: float = 5.0, **options: Unpack[RequestOptions]) -> Value:
        """Send one request and return its answer: an ndarray, or a dict of them where the servable has several outputs.

        ``timeout`` is seconds on the wall, connecting included; the request carries it as its deadline (unless
        ``deadline_ms`` says otherwise), so that nobody computes an answer that nobody waits for. ``request_data``: a
        dict of tensors by name, one value for the only input, or JSON text; see request.parse.

        Raises TimedOut, RemoteError with the wire's code for an error result, ConnectorError where the broker is away,
        TypeError for a value that is no tensor or an option that there is not, ValueError for a timeout without an end.
        """
        deadline_s = deadline_after(timeout)
        request = parse(request_data)
        connection = self._opened(timeout, to_send=True)
        options = with_deadline(options, request, timeout)
        options["replies"] = "here"
        request = build(connection, self._servable, request, connection.new_id(), options)
        answers: SimpleQueue[Outcome] = SimpleQueue()
        connection.table.claim(request.id, answers.put)
        try:
            connection.sender.send(
                encode(connection, self._format, request, options), max(0.0, deadline_s - time.monotonic())
            )
            outcome = answers.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except Empty:
            raise timed_out(connection, request.id, timeout) from None
        finally:
            connection.table.give_up(request.id)
        return value_or_raise(outcome)

    def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> None:
        """Return when the broker has taken all that was sent, ConnectorError if not in ``timeout`` seconds."""
        connection = self._own()
        if connection.is_open(to_send=True):
            connection.sender.flush(timeout)

    def close(self, timeout: float = FLUSH_TIMEOUT_S) -> None:
        """Flush, and let go of the connection, in ``timeout`` seconds and a half; idempotent.

        Raises ConnectorError for what was not taken.
        """
        if self._is_closed:
            return
        deadline_s = time.monotonic() + timeout
        try:
            self.flush(timeout)
        except BaseException:
            with contextlib.suppress(ConnectorError):  # the same again
                self._release(0.0)
            raise
        self._release(max(0.0, deadline_s - time.monotonic()))

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ConnectorError as failure:
            if error is None:
                raise
            log.error("closing: %s", failure)  # noqa: TRY400  # the block's own error is the one to raise


def build(
    connection: Connection, servable: str, request: PredictRequest, id_: str | None, options: RequestOptions
) -> PredictRequest:
    """Return a request that is ready to be encoded: its id is ``id_``, else what JSON brought, else a new one."""
    return complete(request, id_ or request.id or connection.new_id(), servable, options)


def deadline_after(timeout_s: float) -> float:
    """Return when so many seconds are over, on the monotonic clock; ValueError where that is never."""
    if not math.isfinite(timeout_s):
        raise ValueError(
            f"timeout is {timeout_s!r}, expected seconds: each request has a time after which nobody waits"
        )
    return time.monotonic() + timeout_s


def with_deadline(options: RequestOptions, request: PredictRequest, timeout_s: float) -> RequestOptions:
    """Return options with a deadline ``timeout_s`` from now, unless they or the request have one."""
    if options.get("deadline_ms") or request.deadline_ms:
        return {**options}
    return {**options, "deadline_ms": int((time.time() + timeout_s) * 1000)}


def encode(connection: Connection, format_: str, request: PredictRequest, options: RequestOptions) -> Outgoing:
    """Return the record of a request."""
    value, described = connection.wire.write(format_, request)
    return connection.outgoing(
        request.id,
        value,
        options.get("key"),
        [*described, *headers_of(options)],
        is_answered_here=options.get("replies") != "stored",
    )


def timed_out(connection: Connection, id_: str, timeout_s: float) -> TimedOut:
    """Return the error of a caller that has waited long enough, with what Kafka complained about."""
    return TimedOut(f"request {id_} on {connection.address.request_topic}{connection.trouble}", timeout_s)


def value_or_raise(outcome: Outcome) -> Value:
    """Return the outputs of an outcome; raises what it carries instead."""
    if isinstance(outcome, PenstockError):
        raise outcome
    return value_of(outcome)
