"""Where a worker's pages are, looked at before the worker starts."""

from __future__ import annotations

import errno
import socket

from pipeline.errors import InvalidSettings
from pipeline.settings.worker import WorkerSettings


def check_address(worker: WorkerSettings) -> None:
    """Raise InvalidSettings unless the pages of this worker can be served where its settings say."""
    try:
        found = socket.getaddrinfo(
            worker.web_host or None, worker.web_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise InvalidSettings(
            "worker.web_host", f"{worker.web_host!r} is no address of this machine: {error}"
        ) from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise InvalidSettings(
                        "worker.web_port",
                        f"{worker.web_host}:{worker.web_port} is in use by another process; give this worker another "
                        "port with --web-port, or run it with --without-web",
                    ) from error
                raise InvalidSettings(
                    "worker.web_port", f"nobody can listen on {worker.web_host}:{worker.web_port}: {error.strerror}"
                ) from error
