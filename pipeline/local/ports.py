"""Free TCP ports for servers on this machine."""

from __future__ import annotations

import random
import socket

# Below the range from which systems take the ports of outgoing connections: while a broker is being restarted, a client
# that keeps trying to reach it on a port of that range may end up connected to itself.
_FIRST, _LAST = 20_000, 32_000
_MOST_REMEMBERED = (_LAST - _FIRST) // 2
# Given away, maybe not bound yet.
_given: set[int] = set()


def free_ports(count: int, *, and_above: int = 0) -> list[int]:
    """Different ports that nobody listens on at 127.0.0.1 just now; nothing reserves them until they are bound.

    This process is not given the same one again, so whoever binds late finds it free. The ports that are ``and_above``
    above them are free as well.
    """
    if len(_given) > _MOST_REMEMBERED:
        _given.clear()
    ports: set[int] = set()
    draw = random.SystemRandom()  # not the seeded one: parallel test runs would draw the same
    while len(ports) < count:
        port = draw.randrange(_FIRST, _LAST - and_above)
        if not _given & {port, port + and_above} and is_free(port) and is_free(port + and_above):
            _given.update((port, port + and_above))
            ports.add(port)
    return list(ports)


def is_free(port: int) -> bool:
    """Whether a server could bind 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
