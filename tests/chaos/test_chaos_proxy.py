"""A cut network: nothing arrives, or everything is reset, and afterwards it is as it was."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from pipeline.local.ports import free_ports
from tests.chaos.proxy import Cut, Proxy

SHORT_S = 0.3
LONG_S = 20.0


class Echo:
    """Says what it hears, to anybody, until it is closed."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(LONG_S)


@pytest.fixture
def echo() -> Iterator[Echo]:
    it = Echo()
    yield it
    it.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    [port] = free_ports(1)
    with Proxy(port, echo.port) as it:
        yield it


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=LONG_S)


def is_ended(connection: socket.socket) -> bool:
    """Whether the other end closes it, in whatever way."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def is_refused(proxy: Proxy) -> bool:
    """Whether a new connection ends, at once or as soon as it is made."""
    try:
        with connect(proxy) as new:
            return is_ended(new)
    except ConnectionError:
        return True


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        assert chunk, data
        data += chunk
    return data


def test_what_is_sent_arrives_and_comes_back(proxy):
    with connect(proxy) as connection:
        data = bytes(range(256)) * 4096
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert received(connection, len(data)) == data
        sender.join()


def test_through_a_black_hole_nothing_comes_until_it_heals_and_then_everything_does(proxy):
    with connect(proxy) as old:
        old.sendall(b"before")
        assert received(old, 6) == b"before"
        proxy.cut(Cut.BLACK_HOLE)
        old.sendall(b"old")
        with connect(proxy) as new:
            new.sendall(b"new")
            for connection in (old, new):
                connection.settimeout(SHORT_S)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(LONG_S)
            proxy.heal()
            assert received(old, 3) == b"old"
            assert received(new, 3) == b"new"


def test_a_reset_ends_what_stands_and_what_is_new_until_it_heals(proxy):
    with connect(proxy) as old:
        old.sendall(b"before")
        assert received(old, 6) == b"before"
        proxy.cut(Cut.RESET)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        assert is_refused(proxy)
    proxy.heal()
    with connect(proxy) as again:
        again.sendall(b"after")
        assert received(again, 5) == b"after"


def test_where_nobody_listens_a_connection_ends():
    port, nobody = free_ports(2)
    with Proxy(port, nobody) as proxy, connect(proxy) as connection:
        assert is_ended(connection)


def test_the_end_of_one_side_is_the_end_of_the_other(proxy):
    with connect(proxy) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert is_ended(connection)


def test_a_proxy_that_is_cut_can_be_closed(echo):
    [port] = free_ports(1)
    with Proxy(port, echo.port) as proxy:
        proxy.cut(Cut.BLACK_HOLE)
        with connect(proxy):
            pass
