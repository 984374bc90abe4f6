"""The connections of this process: one per address, as long as a queue holds it."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from typing import Final

import msgspec

from pipeline.client.address import Address, new_client_id
from pipeline.client.connection import Connection
from pipeline.client.link import Link
from pipeline.errors import ConnectorError

_EXIT_FLUSH_S: Final = 10.0


class _Shared:
    """The table of connections of one process; a forked child makes its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.client_id = new_client_id()
        self.connections: weakref.WeakValueDictionary[Address, Connection] = weakref.WeakValueDictionary()
        # Of connections that nobody holds any more, too, as long as they deliver.
        self.links: weakref.WeakSet[Link] = weakref.WeakSet()
        atexit.register(self.close)

    def close(self) -> None:
        """Deliver what was sent by queues that were not closed; at the end of the process."""
        if self.pid != os.getpid():
            return
        for connection in list(self.connections.values()):
            with contextlib.suppress(ConnectorError):  # nobody is left to hear it
                connection.close(_EXIT_FLUSH_S)
        for link in list(self.links):
            link.join(_EXIT_FLUSH_S)


# The one module-level state of the client, filled on first use: processes have one connection per address.
_processes: dict[int, _Shared] = {}


def acquire(address: Address, max_results: int) -> Connection:
    """Return this process's connection to an address, and count its user; no client id is the process's own."""
    shared = _own()
    with shared.lock:
        if not address.client_id:
            address = msgspec.structs.replace(address, client_id=shared.client_id)
        connection = shared.connections.get(address)
        if connection is None:
            connection = shared.connections[address] = Connection(address, max_results, shared.links)
        connection.table.grow(max_results)
        connection.users += 1
        return connection


def release(connection: Connection, timeout_s: float) -> None:
    """Give a connection back; the last one closes it, for ``timeout_s`` at most. Raises as ``close`` does."""
    shared = _own()
    if connection.pid != shared.pid:
        return  # the parent's
    with shared.lock:
        connection.users -= 1
        if connection.users:
            return
        shared.connections.pop(connection.address, None)
    connection.close(timeout_s)


def _own() -> _Shared:
    pid = os.getpid()
    shared = _processes.get(pid)
    if shared is None:
        # Two threads may race here once; ``setdefault`` lets one win. The parent's entry is not touched again.
        shared = _processes.setdefault(pid, _Shared())
    return shared
