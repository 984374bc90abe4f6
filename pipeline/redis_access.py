"""From the section ``redis`` of the settings to a client of redis-py, and from its errors to ours.

redis-py is an extra: nothing here imports it before a client is wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.errors import AccessDenied, AuthenticationFailed, ConnectorError, InvalidSettings, TlsFailed
from pipeline.redaction import without_secrets
from pipeline.redis_address import RedisAddress, address_of
from pipeline.settings import RedisSettings

_MISSING: Final = "Redis needs the package redis: pip install 'penstock-serving[redis]'"
_BASE_S: Final = 0.05
_CAP_S: Final = 2.0
# Beginnings of what a server says that will not be otherwise a moment later.
_NOT_LET_IN: Final = ("WRONGPASS", "NOAUTH", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH")

# What it says while it starts or fails over; in scripts in the middle of the text.
_PASSING: Final = ("LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN", "BUSY ")
_FULL: Final = ("OOM", "MISCONF")
_NOT_ALLOWED: Final = ("NOPERM", "The user executing the script")


def connect(settings: RedisSettings, client_name: str, *, retries: int = 3, timeout_s: float | None = None) -> Any:
    """Return a client of redis-py, ``redis.Redis`` or ``redis.RedisCluster``; bytes in, bytes out.

    Nothing is connected yet, except to a cluster, which is asked for its nodes. Thread-safe: each command takes a
    connection of its pool. A command that finds no server is tried again ``retries`` times with growing pauses, after
    that it raises what redis-py raises; ``failure`` makes it one of ours. ``timeout_s`` is how long an answer may take,
    where that is not ``settings.timeout_s``: as long as a command may block, and some. Raises InvalidSettings without a
    URL, ConnectorError without the package, TlsFailed for a file that can not be read, and what redis-py raises for a
    cluster that is away.
    """
    if not settings.url:
        raise InvalidSettings("redis.url", "a Redis is needed; set it, such as redis://localhost:6379")
    redis = package()
    address = address_of(settings.url)
    options = _options(settings, address, client_name, retries)
    if timeout_s is not None:
        options["socket_timeout"] = timeout_s
    if address.kind == "unix":
        return redis.Redis(unix_socket_path=address.path, **options)
    if address.kind == "cluster":
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.hosts]
        del options["db"]
        return redis.RedisCluster(startup_nodes=nodes, **options)
    if address.kind == "sentinel":
        sentinel = redis.Sentinel(address.hosts, sentinel_kwargs=_sentinel_options(settings, options), **options)
        return sentinel.master_for(address.service)
    [(host, port)] = address.hosts
    return redis.Redis(host=host, port=port, **options)


def package() -> Any:
    """Return the package redis; ConnectorError where it is not installed."""
    try:
        import redis  # noqa: PLC0415  # an extra, imported on use
        import redis.cluster  # noqa: PLC0415  # as above
    except ImportError as error:
        raise ConnectorError("connector redis", _MISSING) from error
    return redis


def errors() -> tuple[type[Exception], ...]:
    """Return what redis-py raises, for an ``except``."""
    redis = package()
    return (redis.RedisError, redis.exceptions.RedisClusterException, OSError)


def is_away(error: Exception) -> bool:
    """Whether an error of redis-py is one of those that heal by themselves: nobody there, starting, failing over."""
    redis = package()
    lasting = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
    if isinstance(error, lasting) or _is_tls(error):
        return False
    away = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.RedisClusterException, OSError)
    return isinstance(error, away) or any(word in str(error) for word in _PASSING)


def is_full(error: Exception) -> bool:
    """Whether the server takes nothing more: its ``maxmemory`` is reached, or its disk takes nothing."""
    return any(word in str(error) for word in _FULL) or isinstance(error, package().OutOfMemoryError)


def is_forgotten(error: Exception) -> bool:
    """Whether the stream or its group is not there: never made, or deleted since."""
    return any(word in str(error) for word in ("NOGROUP", "UNBLOCKED", "requires the key to exist"))


def failure(settings: RedisSettings, error: Exception) -> ConnectorError:
    """Return what an error of redis-py is in our words, with what to do about it; no secret is in it."""
    redis = package()
    place, said = str(address_of(settings.url)), without_secrets(str(error), msgspec.structs.asdict(settings))
    if _is_tls(error):
        return TlsFailed(place, f"{_tls_step(said)} ({said})")
    if isinstance(error, redis.AuthenticationError) or said.startswith(_NOT_LET_IN):
        step = "look at username and password of the section redis"
        return AuthenticationFailed(place, f"{step} ({said})")
    if isinstance(error, redis.exceptions.NoPermissionError) or any(word in said for word in _NOT_ALLOWED):
        step = "the user lacks a permission; docs/redis.md has what each program needs"
        return AccessDenied(
            place, f"{step} ({said})", address_of(settings.url).username or settings.username or "default"
        )
    if is_full(error):
        return ConnectorError(place, f"it is full, and nothing was written; look at maxmemory and its disk ({said})")
    if is_away(error):
        step = "does this port speak TLS?" if "handshake" in str(error.__context__) else "is it running?"
        return ConnectorError(place, f"it can not be reached; {step} ({said})")
    return ConnectorError(place, said)


def _options(settings: RedisSettings, address: RedisAddress, client_name: str, retries: int) -> dict[str, Any]:
    from redis.backoff import ExponentialWithJitterBackoff  # noqa: PLC0415  # an extra, imported on use
    from redis.retry import Retry  # noqa: PLC0415  # as above

    options: dict[str, Any] = {
        "db": address.database,
        "protocol": 2,  # whatever the server, one form of replies
        "username": address.username or settings.username or None,
        "password": address.password or settings.password or None,
        "client_name": "".join(letter if "!" <= letter <= "~" else "-" for letter in client_name),  # all it takes
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.timeout_s,
        "retry": Retry(ExponentialWithJitterBackoff(base=_BASE_S, cap=_CAP_S), retries),
    }
    if address.is_tls:
        if not settings.ca and not settings.check_hostname:
            raise InvalidSettings("redis.check_hostname", "without ca any certificate of anybody would do; set ca")
        _look_at_files(settings, address)
        options |= {
            "ssl": True,
            "ssl_ca_certs": settings.ca or None,
            "ssl_certfile": settings.cert or None,
            "ssl_keyfile": settings.key or None,
            "ssl_password": settings.key_password or None,
            "ssl_check_hostname": settings.check_hostname,
        }
    return options


def _look_at_files(settings: RedisSettings, address: RedisAddress) -> None:
    """Raise TlsFailed for a file that can not be read: to redis-py that is a server which is not there."""
    for name in ("ca", "cert", "key"):
        path = getattr(settings, name)
        try:
            if path:
                Path(path).read_bytes()
        except OSError as error:
            reason = f"the file of {name} can not be read; look at redis.{name} ({error})"
            raise TlsFailed(str(address), reason) from error


def _sentinel_options(settings: RedisSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the sentinels' own connections: they have no databases, and users of their own."""
    own = {name: value for name, value in options.items() if name not in ("db", "username", "password")}
    username, password = settings.sentinel_username or None, settings.sentinel_password or None
    return {**own, "username": username, "password": password}


def _is_tls(error: BaseException) -> bool:
    import ssl  # noqa: PLC0415  # slow to load, and for a failure alone

    seen: BaseException | None = error
    broken = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # the connection, and not the agreement
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, broken):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _tls_step(said: str) -> str:
    if "certificate verify failed" in said.lower():
        return "the server's certificate is not trusted; look at ca and at the host's name in the url"
    return "no TLS connection comes about; does this port speak TLS, and does it want a client's cert and key?"
