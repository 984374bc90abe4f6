"""The Redis of one route: commands and scripts about its request stream, on whichever node has it."""

from __future__ import annotations

import threading
from typing import Any, Final

from connectors.redis.scripts import Script
from pipeline import redis_access
from pipeline.errors import ConnectorError
from pipeline.redis_address import address_of
from pipeline.redis_node import Node
from pipeline.settings import RedisSettings

_LONGEST_BLOCK_S: Final = 1.0


class Server:
    """Connects on the first command, and again whenever that is needed. Thread-safe.

    Nothing is tried again here: what goes wrong raises what redis-py raises.
    """

    def __init__(self, settings: RedisSettings, client_name: str, stream: str) -> None:
        self._settings = settings
        self._client_name = client_name
        self._stream = stream
        self._lock = threading.Lock()
        self._node: Node | None = None
        self.is_cluster = address_of(settings.url).kind == "cluster"
        # A read that blocks must end before the connection's own time-out, and Redis ends it up to 0.1 s late.
        self.longest_block_s = min(_LONGEST_BLOCK_S, settings.timeout_s / 4)

    def execute(self, *command: Any) -> Any:
        """Return the reply to a command about the request stream; replies that redis-py would form come as they are.

        A command's first two words in one, so that redis-py knows no form for it: ``"XREADGROUP GROUP"``.
        """
        return self._connected().ask(self._stream, *command)

    def run(self, script: Script, *arguments: Any) -> Any:
        """Return the reply of a script."""
        try:
            return self.execute("EVALSHA", script.sha, 1, self._stream, *arguments)
        except redis_access.package().exceptions.NoScriptError:
            return self.execute("EVAL", script.body, 1, self._stream, *arguments)

    def is_beside(self, key: bytes | str | int) -> bool:
        """Whether scripts can write this key beside the request stream: in a cluster it must be in the same slot."""
        if not self.is_cluster:
            return True
        from redis.crc import key_slot  # noqa: PLC0415  # an extra, imported on use

        return bool(key_slot(_bytes(key)) == key_slot(self._stream.encode()))

    def failure(self, error: Exception) -> ConnectorError:
        """Return an error of redis-py in our words."""
        return redis_access.failure(self._settings, error)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        with self._lock:
            node, self._node = self._node, None
        if node is not None:
            node.close()

    def _connected(self) -> Node:
        with self._lock:
            if self._node is None:
                self._node = Node.of(self._settings, self._client_name, retries=0)
            return self._node


def _bytes(key: bytes | str | int) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()
