"""What a URL of Redis says."""

from __future__ import annotations

import pytest

from pipeline.redis_address import RedisAddress, address_of, is_redis


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisAddress("server", (("cache", 6379),))),
        ("rediss://cache:6380/3", RedisAddress("server", (("cache", 6380),), database=3, is_tls=True)),
        ("redis://[::1]:7000", RedisAddress("server", (("::1", 7000),))),
        (
            "redis://us%40er:p%3Ass@cache",
            RedisAddress("server", (("cache", 6379),), username="us@er", password="p:ss"),
        ),
        ("redis://:secret@cache", RedisAddress("server", (("cache", 6379),), password="secret")),
        ("unix:///run/redis.sock", RedisAddress("unix", path="/run/redis.sock")),
        (
            "redis+sentinel://a:1,b/orders/2",
            RedisAddress("sentinel", (("a", 1), ("b", 26379)), service="orders", database=2),
        ),
        ("rediss+cluster://a,b:2/0", RedisAddress("cluster", (("a", 6379), ("b", 2)), is_tls=True)),
    ],
)
def test_a_url_says_where_redis_is(url: str, expected: RedisAddress) -> None:
    assert address_of(url) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("kafka://a", "begins with one of"),
        ("localhost:6379", "begins with one of"),
        ("redis://", "expected a host"),
        ("redis://a:port", "is not host:port"),
        ("redis://a/orders", "number of a database"),
        ("redis://a/1/2", "number of a database"),
        ("redis://a?ssl_cert_reqs=none", "settings of the section redis"),
        ("redis+sentinel://a", "name of a service"),
        ("redis+cluster://a/1", "database 0 alone"),
        ("unix://", "path of a socket"),
    ],
)
def test_what_is_no_url_of_redis_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        address_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hu/sh@a:1/0",
        "redis://me:hu?sh@a",
        "redis://me:hu#sh@a",
        "redis://:hush",
        "redis://me:hush",
        "redis+sentinel://me:1/hu/sh@a/b",
    ],
)
def test_no_piece_of_a_password_that_is_not_encoded_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        address_of(url)
    assert not [piece for piece in ("hu", "sh") if piece in str(caught.value)]


def test_who_logs_in_is_not_in_the_text_of_an_address() -> None:
    assert str(address_of("redis://me:secret@cache:1")) == "Redis at cache:1"
    assert str(address_of("redis+sentinel://me:secret@a,b/orders")).endswith("orders of the sentinels a:26379,b:26379")


def test_a_bare_host_is_no_url_of_redis() -> None:
    assert not is_redis("localhost:6379")
    assert is_redis("rediss+sentinel://a/b")
