"""Where Redis is, as a URL says it: one server, a socket, a master behind sentinels, a cluster. Pure.

========================================  ==================================================================
``redis://host:6379/0``                   one server; ``/0`` is the database
``unix:///run/redis.sock``                one server, by its socket
``redis+sentinel://a:26379,b/service/0``  the master of a service that these sentinels watch
``redis+cluster://a:6379,b:6380``         a cluster, found by any of these nodes
``rediss...``                             each of them but ``unix`` over TLS
========================================  ==================================================================

A user and a password may stand before the hosts (``redis://user:password@host``), percent-encoded.
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

Kind = Literal["server", "unix", "sentinel", "cluster"]

_KINDS: Final[dict[str, Kind]] = {
    "redis": "server",
    "rediss": "server",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
# What is wrong may be a piece of a password that was not encoded, so none of it is repeated.
_ENCODE: Final = "a password's own @ : / ? # [ ] % stand in it percent-encoded"
_PORTS: Final = {"server": 6379, "sentinel": 26379, "cluster": 6379}


class RedisAddress(msgspec.Struct, frozen=True):
    """What a URL says. ``hosts`` is empty for a socket, whose path is ``path``; ``service`` is a sentinel's alone."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    is_tls: bool = False
    username: str = ""
    password: str = ""

    def __str__(self) -> str:
        """Return it as people say it, without who logs in: for messages."""
        if self.kind == "unix":
            return f"Redis at {self.path}"
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        if self.kind == "sentinel":
            return f"Redis service {self.service} of the sentinels {hosts}"
        return f"Redis cluster at {hosts}" if self.kind == "cluster" else f"Redis at {hosts}"


def is_redis(url: str) -> bool:
    """Whether a text is a URL of Redis, by its scheme."""
    return url.partition("://")[0].lower() in _KINDS and "://" in url


def address_of(url: str) -> RedisAddress:
    """Return what a URL says. Raises ValueError, without a word of its password."""
    if not is_redis(url):
        raise ValueError(f"expected a URL that begins with one of {', '.join(f'{scheme}://' for scheme in _KINDS)}")
    parts = urlsplit(url)
    kind = _KINDS[parts.scheme]
    login, _, netloc = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    if parts.query or parts.fragment:
        raise ValueError(f"options in the URL are not read; they are settings of the section redis; {_ENCODE}")
    service, database = _path(kind, parts)
    return RedisAddress(
        kind=kind,
        hosts=() if kind == "unix" else tuple(_host(text, _PORTS[kind]) for text in netloc.split(",")),
        path=unquote(parts.path) if kind == "unix" else "",
        service=service,
        database=database,
        is_tls=parts.scheme.startswith("rediss"),
        username=unquote(username),
        password=unquote(password),
    )


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """Return the service and the database."""
    if kind == "unix":
        if not parts.path.strip("/"):
            raise ValueError("expected the path of a socket: unix:///run/redis.sock")
        return "", 0
    first, _, rest = parts.path.strip("/").partition("/")
    service, database = (first, rest) if kind == "sentinel" else ("", first)
    if kind == "sentinel" and not service:
        raise ValueError("expected the name of a service behind the sentinels: redis+sentinel://host:26379/service")
    if (kind != "sentinel" and rest) or (database and not database.isdecimal()):
        raise ValueError(f"expected the number of a database behind the host, and nothing else; {_ENCODE}")
    if kind == "cluster" and database not in ("", "0"):
        raise ValueError("a cluster has database 0 alone")
    return unquote(service), int(database or 0)


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"a part between :// and / is not host:port; {_ENCODE}") from None
    if not host:
        raise ValueError("expected a host behind ://")
    return host, port or default_port
