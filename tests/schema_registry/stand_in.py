"""A stand-in for a schema registry: those endpoints of Confluent's that are asked, over HTTP, with faults on demand.

No registry server runs where these tests do. What is known of the real one's answers is in its API reference, and what
confluent-kafka's own client makes of them.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

Answer = tuple[int, Any]


class StandIn:
    """A registry at ``url`` while it is open; what it knows outlives ``stop`` and ``start``.

    ``fault`` may be set to what answers instead: it gets method and path. ``tells_guids`` off is an older registry.
    """

    def __init__(self) -> None:
        self.subjects: dict[str, list[dict[str, Any]]] = {}
        self.by_id: dict[int, dict[str, Any]] = {}
        self.fault: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self.asked: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self.tells_guids = True
        self._lock = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Answer, at the same port as before."""

        class Handler(_Handler):
            stand_in = self

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        server, thread, self._server = self._server, self._thread, None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()

    def register(self, subject: str, text: str, **more: Any) -> int:
        """Return the id of a schema, which is registered in a subject if it is not yet."""
        schema = {"schema": text, "schemaType": "AVRO", "references": [], **more}
        with self._lock:
            known = next((id_ for id_, it in self.by_id.items() if it == schema), None)
            schema_id = len(self.by_id) + 1 if known is None else known
            self.by_id[schema_id] = schema
            versions = self.subjects.setdefault(subject, [])
            if schema not in versions:
                versions.append(schema)
            return schema_id

    def guid(self, schema_id: int) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(schema_id)))

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:  # noqa: PLR0911  # one for each endpoint
        parts = [urllib.parse.unquote(part) for part in path.partition("?")[0].strip("/").split("/")]
        match method, parts:
            case "GET", ["schemas", "ids", number]:
                return self._of_id(int(number))
            case "GET", ["schemas", "guids", guid]:
                return self._of_id(next((id_ for id_ in self.by_id if self.guid(id_) == guid), -1))
            case "GET", ["subjects", subject, "versions"]:
                versions = self.subjects.get(subject)
                return _missing(40401) if versions is None else (200, list(range(1, len(versions) + 1)))
            case "GET", ["subjects", subject, "versions", version]:
                versions = self.subjects.get(subject) or []
                number = len(versions) if version == "latest" else int(version)
                return self._registered(subject, number) if 0 < number <= len(versions) else _missing(40402)
            case "POST", ["subjects", subject]:
                versions = self.subjects.get(subject) or []
                found = [n for n, it in enumerate(versions, 1) if it["schema"] == body["schema"]]
                return self._registered(subject, found[0]) if found else _missing(40403)
            case "POST", ["subjects", subject, "versions"]:
                if not self._is_compatible(subject, body["schema"]):
                    return 409, {"error_code": 409, "message": "incompatible with an earlier schema"}
                schema_id = self.register(subject, body["schema"], references=body.get("references") or [])
                return 200, {"id": schema_id, **self._guid_of(schema_id)}
            case "POST", ["compatibility", "subjects", subject, "versions", *_]:
                return 200, {"is_compatible": self._is_compatible(subject, body["schema"])}
        return _missing(404)

    def _of_id(self, schema_id: int) -> Answer:
        schema = self.by_id.get(schema_id)
        return _missing(40403) if schema is None else (200, {**schema, **self._guid_of(schema_id)})

    def _registered(self, subject: str, version: int) -> Answer:
        schema = self.subjects[subject][version - 1]
        schema_id = next(id_ for id_, it in self.by_id.items() if it == schema)
        return 200, {**schema, "subject": subject, "version": version, "id": schema_id, **self._guid_of(schema_id)}

    def _guid_of(self, schema_id: int) -> dict[str, str]:
        return {"guid": self.guid(schema_id)} if self.tells_guids else {}

    def _is_compatible(self, subject: str, text: str) -> bool:
        """As BACKWARD, a registry's default: readers of the new schema can read what the latest one has written."""
        versions = self.subjects.get(subject)
        if not versions:
            return True
        checker = ReaderWriterCompatibilityChecker()
        result = checker.get_compatibility(avro.schema.parse(text), avro.schema.parse(versions[-1]["schema"]))
        return result.compatibility is SchemaCompatibilityType.compatible


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        stand_in = self.stand_in
        stand_in.asked[f"{method} {self.path.partition('?')[0]}"] += 1
        stand_in.authorizations.add(self.headers.get("authorization", ""))
        status, answer = stand_in.fault(method, self.path) or stand_in.answer(method, self.path, body)
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _missing(code: int) -> Answer:
    return 404, {"error_code": code, "message": "not there"}
