"""Store: the results of a route that lie in Redis as hashes, by the ids of their requests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from pipeline import redis_access, redis_wire
from pipeline.client.redis.place import RedisPlace
from pipeline.redis_node import Node


class Store:
    """Looks results up; connects when that is first wanted. Thread-safe."""

    def __init__(self, place: RedisPlace, topic: str, client_id: str) -> None:
        self._place, self._topic, self._client_id = place, topic, client_id
        self._lock = threading.Lock()
        self._node: Node | None = None

    def get(self, id_: str) -> Sequence[bytes]:
        """Return the fields of a result, names and values in turns, empty for none. Blocks; raises ConnectorError."""
        found = self._ask("hgetall", id_)
        return [word for item in found.items() for word in item] if found else []

    def delete(self, id_: str) -> None:
        """Delete a result. Blocks; raises ConnectorError."""
        self._ask("unlink", id_)

    def _ask(self, command: str, id_: str) -> Any:
        """Return what redis-py makes of a command about a result, None for somebody else's key."""
        key = redis_wire.result_key(self._topic, id_.encode(), b"")
        try:
            return getattr(self._connected().client, command)(key)
        except redis_access.package().ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return None
            raise self._place.failure(error) from error
        except redis_access.errors() as error:
            self.close()
            raise self._place.failure(error) from error

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        with self._lock:
            node, self._node = self._node, None
        if node is not None:
            node.close()

    def _connected(self) -> Node:
        with self._lock:
            if self._node is None:
                self._node = self._place.connect(self._client_id)
            return self._node
