"""The section ``redis``: where Redis is and how a client gets in, and what a route says about its streams there."""

from __future__ import annotations

from typing import Final

from pipeline.errors import InvalidSettings
from pipeline.redis_address import address_of
from pipeline.settings.section import Section

_RESULTS: Final = ("hash", "stream")


class RedisSettings(Section, frozen=True):
    """One Redis, a master behind sentinels, or a cluster: ``redis_address`` says what a URL may be; empty is no Redis.

    ``ca``, ``cert`` and ``key`` are paths of PEM files; without ``ca`` the system's authorities are trusted.
    """

    url: str = ""
    username: str = ""
    password: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    key_password: str = ""
    check_hostname: bool = True
    connect_timeout_s: float = 5.0
    timeout_s: float = 5.0


class RedisRouteSettings(Section, frozen=True):
    """The section ``redis`` of a route: what becomes of its results, of dead workers' requests, and of space.

    ``result_ttl_s`` 0 keeps results for ever; ``max_length`` is how many requests may wait before producers are
    refused, 0 any number.
    """

    results: str = "hash"
    result_ttl_s: float = 3600.0
    claim_after_s: float = 30.0
    max_length: int = 0


def check_redis(redis: RedisSettings, place: str) -> None:
    """Raise InvalidSettings for a URL that is none, and for what is out of range."""
    if not redis.url:
        return
    try:
        address = address_of(redis.url)
    except ValueError as error:
        raise InvalidSettings(f"{place}.url", str(error)) from None
    for field in ("connect_timeout_s", "timeout_s"):
        if getattr(redis, field) <= 0:
            raise InvalidSettings(f"{place}.{field}", f"must be above 0, got {getattr(redis, field):g}")
    if bool(redis.cert) != bool(redis.key):
        raise InvalidSettings(f"{place}.cert", "cert and key belong together; set both or none")
    tls = [field for field in ("ca", "cert", "key", "key_password") if getattr(redis, field)]
    if tls and not address.is_tls:
        raise InvalidSettings(f"{place}.{tls[0]}", "has no effect without TLS; let the url begin with rediss")


def check_redis_route(redis: RedisRouteSettings, place: str) -> None:
    """Raise InvalidSettings for what is out of range."""
    if redis.results not in _RESULTS:
        raise InvalidSettings(f"{place}.results", f"{redis.results!r} is not {' or '.join(_RESULTS)}")
    if redis.claim_after_s <= 0:
        raise InvalidSettings(f"{place}.claim_after_s", f"must be above 0, got {redis.claim_after_s:g}")
    for field in ("result_ttl_s", "max_length"):
        if getattr(redis, field) < 0:
            raise InvalidSettings(f"{place}.{field}", f"must not be negative, got {getattr(redis, field):g}")
