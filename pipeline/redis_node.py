"""Node: commands to whichever server of a Redis has a key."""

from __future__ import annotations

from typing import Any, Self

from pipeline import redis_access
from pipeline.redis_address import address_of
from pipeline.settings import RedisSettings


class Node:
    """One client of redis-py. Thread-safe, as that is; its commands raise what redis-py raises."""

    def __init__(self, client: Any, *, is_cluster: bool) -> None:
        self.client = client
        self._is_cluster = is_cluster

    @classmethod
    def of(cls, settings: RedisSettings, client_name: str, *, retries: int, timeout_s: float | None = None) -> Self:
        """Return one for a Redis; see ``redis_access.connect``."""
        client = redis_access.connect(settings, client_name, retries=retries, timeout_s=timeout_s)
        return cls(client, is_cluster=address_of(settings.url).kind == "cluster")

    def ask(self, key: str, *command: Any) -> Any:
        """Return the reply to a command about a key, as it came where the first two words of the command are one."""
        if not self._is_cluster:
            return self.client.execute_command(*command)
        # Told the node: of some commands redis-py would ask the server, each time, where their keys stand.
        return self.client.execute_command(*command, target_nodes=self.client.get_node_from_key(key))

    def close(self) -> None:
        """Close its connections."""
        self.client.close()
