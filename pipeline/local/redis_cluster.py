"""A real Redis cluster on this machine: three masters, without Docker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from pipeline.local.errors import LocalBrokerError
from pipeline.local.ports import free_ports
from pipeline.local.redis import LocalRedis

if TYPE_CHECKING:
    from types import TracebackType

_MASTERS: Final = 3
_SLOTS: Final = 16384
# So far above its port a node listens for the other nodes.
_BUS: Final = 10_000
_POLL_INTERVAL_S: Final = 0.05
_TIMEOUT_S: Final = 30


class LocalRedisCluster:
    """Three masters that share the slots, at ``url``; otherwise as LocalRedis. It needs the extra ``redis``."""

    def __init__(self, *, append_only: bool = False) -> None:
        """Nothing is started yet."""
        # A master that is gone for a moment must not take the others out of service.
        config = ("cluster-enabled yes", "cluster-node-timeout 5000", "cluster-require-full-coverage no")
        ports = free_ports(_MASTERS, and_above=_BUS)
        self.nodes = tuple(LocalRedis(port=port, append_only=append_only, config=config) for port in ports)

    @property
    def url(self) -> str:
        """The addresses of all its nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes, share the slots among them, and return when all of them know that."""
        import redis  # noqa: PLC0415  # an extra, imported on use

        try:
            clients: list[Any] = [redis.Redis(port=node.start().port) for node in self.nodes]
            for number, client in enumerate(clients):
                slots = range(_SLOTS * number // _MASTERS, _SLOTS * (number + 1) // _MASTERS)
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
            deadline_s = time.monotonic() + _TIMEOUT_S
            while not all(map(_is_whole, clients)):
                if time.monotonic() > deadline_s:
                    _refuse()
                time.sleep(_POLL_INTERVAL_S)
            for client in clients:
                client.close()
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """End all nodes (SIGKILL)."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.__exit__(kind, error, trace)


def _is_whole(client: Any) -> bool:
    """Whether a node knows an owner of every slot, and all nodes."""
    said = client.execute_command("CLUSTER INFO")
    text = said.decode() if isinstance(said, bytes) else str(said)
    return "cluster_state:ok" in text or "'cluster_state': 'ok'" in text


def _refuse() -> None:
    raise LocalBrokerError(f"the nodes of a Redis cluster did not find each other within {_TIMEOUT_S} s")
