"""The client side of the SQLite connector, with the verbs of Penstock's own client.

``python -m sqlite_client FILE ROUTE JSON`` asks once and prints the answer.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Final, Self, TypeVar, Unpack

from sqlite_tables import connect, create, headers_to_text, patiently, transaction

from pipeline.client.input_queue import with_deadline
from pipeline.client.request import RequestData, RequestOptions, complete, headers_of, parse
from pipeline.client.values import Value, error_of, value_of
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.errors import ConnectorError, PenstockError, RemoteError, TimedOut
from pipeline.records import PredictRequest

_CODEC: Final = AvroCodec()
_LOOK_S: Final = 0.01
_BUSY_S: Final = 10.0
T = TypeVar("T")


class SqliteQueue:
    """One connection to a file, for one thread at a time; tables that are missing are made. Raises ConnectorError."""

    def __init__(self, path: str, route: str = "serving") -> None:
        """``path``: what the worker's ``connector_options`` name. The route's topics are those it has by default."""
        self._db = connect(path)
        self._requests, self._results = f"{route}.requests", f"{route}.results"
        self._do(lambda: create(self._db))

    def close(self) -> None:
        """Close the connection; what was sent is in the file already. Idempotent."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, body: Callable[[], T]) -> T:
        until_s = time.monotonic() + _BUSY_S
        return patiently(body, lambda: until_s)

    def _take(self, where: str, *values: object) -> list[tuple[bytes, bytes]]:
        """Return key and value of results, oldest first, and delete them."""
        chosen = f"FROM results WHERE {where}"  # ours, never a caller's

        def take() -> list[tuple[bytes, bytes]]:
            with transaction(self._db):
                found = self._db.execute(f"SELECT key, value {chosen} ORDER BY request", values).fetchall()
                if found:
                    self._db.execute(f"DELETE {chosen}", values)
            return found

        # Looking takes no lock, and is what is done most.
        waiting = self._do(lambda: self._db.execute(f"SELECT 1 {chosen} LIMIT 1", values).fetchone())
        return self._do(take) if waiting else []


class SqliteInputQueue(SqliteQueue):
    """Puts requests into the file."""

    def __init__(self, path: str, route: str = "serving", *, servable: str = "", max_waiting: int = 100_000) -> None:
        """``max_waiting``: how many requests may wait; a client that finds so many puts no more there."""
        super().__init__(path, route)
        self._servable, self._max_waiting = servable, max_waiting

    def enqueue(self, uri: str | None = None, **data: object) -> str:
        """Put one request into the file and return its id: ``uri``, or a new one. Every keyword is a tensor.

        Raises ConnectorError where too many wait already: nothing was sent, try again later.
        """
        id_ = uri or uuid.uuid4().hex
        self._put(parse(data), id_, {})
        return id_

    def predict(self, request_data: RequestData, timeout: float = 5.0, **options: Unpack[RequestOptions]) -> Value:
        """Return the answer, as ``InputQueue.predict`` does; raises TimedOut, RemoteError, ConnectorError."""
        until_s = time.monotonic() + timeout
        request = parse(request_data)
        id_ = uuid.uuid4().hex
        row = self._put(request, id_, with_deadline(options, request, timeout))
        while time.monotonic() < until_s:
            for _, value in self._take("request = ?", row):
                return value_of(_CODEC.decode_result(value))
            time.sleep(_LOOK_S)
        raise TimedOut(f"request {id_} on {self._requests}", timeout)

    def _put(self, request: PredictRequest, id_: str, options: RequestOptions) -> int:
        value = _CODEC.encode_request(complete(request, id_, self._servable, options))
        key = options.get("key") or id_
        headers = [(name, it.encode() if isinstance(it, str) else it) for name, it in headers_of(options)]
        row = (self._requests, key.encode() if isinstance(key, str) else key, value, headers_to_text(headers))

        def put() -> int:
            with transaction(self._db):
                waiting = "SELECT count(*) FROM (SELECT 1 FROM requests WHERE topic = ? LIMIT ?)"
                [count] = self._db.execute(waiting, (self._requests, self._max_waiting)).fetchone()
                if count >= self._max_waiting:
                    raise ConnectorError(
                        self._requests, f"{count} requests wait already; send again when there are less"
                    )
                into = "INSERT INTO requests (topic, key, value, headers) VALUES (?, ?, ?, ?)"
                return self._db.execute(into, row).lastrowid or 0

        return self._do(put)


class SqliteOutputQueue(SqliteQueue):
    """Takes results out of the file, by id or whatever has come."""

    def query(self, uri: str, timeout: float = 0.0) -> Value | None:
        """Return the outputs for one request and delete them, None where they have not come; raises RemoteError."""
        until_s = time.monotonic() + timeout
        while True:
            for _, value in self._take("topic = ? AND key = ?", self._results, uri.encode()):
                return value_of(_CODEC.decode_result(value))
            if time.monotonic() >= until_s:
                return None
            time.sleep(_LOOK_S)

    def dequeue(self) -> dict[str, Value | RemoteError]:
        """Return all results that are there, by id, and delete them; an error result is its RemoteError."""
        results = [_CODEC.decode_result(value) for _, value in self._take("topic = ?", self._results)]
        return {result.id: error_of(result) or value_of(result) for result in results}


def main() -> None:
    """Ask once, by the arguments of the command line; JSON is an object of tensors by name, or one tensor."""
    path, route, data = sys.argv[1:]
    try:
        with SqliteInputQueue(path, route) as queue:
            sys.stdout.write(f"{queue.predict(json.loads(data))}\n")
    except PenstockError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
