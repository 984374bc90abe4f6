"""A real Redis on this machine: it works, keeps its data where asked, and lets in who it should."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import AccessDenied, AuthenticationFailed, ConnectorError, PenstockError
from pipeline.local.errors import LocalBrokerError
from pipeline.local.redis import LocalRedis
from pipeline.local.redis_cluster import LocalRedisCluster
from pipeline.redis_access import connect, failure, is_away
from pipeline.settings import RedisSettings


def client(server: LocalRedis, **more: str) -> Any:
    return connect(RedisSettings(url=server.url, **more), "test", retries=0)


def refusal(server: LocalRedis, **more: str) -> PenstockError:
    settings = RedisSettings(url=server.url, **more)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of redis-py's errors, whichever it is
        connect(settings, "test", retries=0).get("a")
    return failure(settings, caught.value)


def test_it_keeps_what_was_written_across_a_kill_where_it_is_append_only() -> None:
    with LocalRedis(append_only=True) as server:
        client(server).set("a", "1")
        server.kill()
        assert not server.is_running
        server.start()
        assert client(server).get("a") == b"1"
        server.restart()
        assert client(server).get("a") == b"1"


def test_it_is_reached_by_a_socket(tmp_path: Path) -> None:
    with LocalRedis(config=[f"unixsocket {tmp_path}/redis.sock"]):
        by_socket = connect(RedisSettings(url=f"unix://{tmp_path}/redis.sock"), "test")
        assert by_socket.ping()
        by_socket.close()


def test_it_is_gone_after_its_block() -> None:
    with LocalRedis() as server:
        port = server.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(LocalBrokerError, match="nonsense"):
        LocalRedis(config=["nonsense yes"]).start()


def test_a_wrong_password_and_a_missing_permission_are_told_apart_and_no_secret_is_told() -> None:
    with LocalRedis(config=["requirepass opensesame", "user reader on >readers-secret ~* +get +client"]) as server:
        for wrong in ({}, {"password": "wrong-one"}, {"username": "nobody", "password": "wrong-one"}):
            told = refusal(server, **wrong)
            assert isinstance(told, AuthenticationFailed)
            assert "wrong-one" not in str(told)
        assert client(server, password="opensesame").get("a") is None
        login = {"username": "reader", "password": "readers-secret"}
        assert client(server, **login).get("a") is None
        with pytest.raises(Exception, match="permission") as caught:
            client(server, **login).set("a", "1")
        told = failure(RedisSettings(url=server.url, **login), caught.value)
        assert isinstance(told, AccessDenied)
        assert told.principal == "reader"


def test_a_server_that_is_away_is_no_lasting_failure() -> None:
    server = LocalRedis()
    with pytest.raises(Exception, match="refused") as caught:
        client(server).get("a")
    assert is_away(caught.value)
    assert "is it running" in str(failure(RedisSettings(url=server.url), caught.value))


def test_a_full_server_is_told_as_such() -> None:
    with LocalRedis(config=["maxmemory 1", "maxmemory-policy noeviction"]) as server:
        with pytest.raises(Exception, match="maxmemory") as caught:
            client(server).set("one-more", b"x")
        told = failure(RedisSettings(url=server.url), caught.value)
        assert isinstance(told, ConnectorError)
        assert "full" in str(told)


def test_the_ports_on_which_the_nodes_of_a_cluster_meet_are_none_that_an_outgoing_connection_may_have() -> None:
    for _ in range(20):
        assert all(node.port + 10_000 < 32_768 for node in LocalRedisCluster().nodes)
