"""Redis behind TLS, behind sentinels, and as a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.redis import RedisConnector
from pipeline.connector import Answer, Record
from pipeline.control.redis_streams import inspect
from pipeline.errors import ConnectorError, InvalidSettings, TlsFailed
from pipeline.local.ports import free_ports
from pipeline.local.redis import LocalRedis
from pipeline.local.redis_cluster import LocalRedisCluster
from pipeline.redis_access import connect, failure
from pipeline.settings import RedisSettings, RouteSettings, Settings
from tests.integration.members import Member, wait_for
from tests.integration.redis_members import RedisRoute, answer, poll, sentinel_of, worker_commands
from tests.integration.tls_front import TlsFront
from tests.security.certificates import Authority


@pytest.fixture
def server() -> Iterator[LocalRedis]:
    with LocalRedis() as local:
        yield local


def test_a_worker_trusts_the_ca_that_is_set_shows_its_certificate_and_says_why_otherwise(
    server: LocalRedis, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    certificate, key = authority.issue("server", hosts=("127.0.0.1",))
    own = dict(zip(("cert", "key"), map(str, authority.issue("worker")), strict=True))
    front = TlsFront(server.port, certificate, key, authority.ca)
    url = f"rediss://127.0.0.1:{front.port}"
    route = RedisRoute(server.url, "t")
    connector = route.opened("w1", url=url, ca=str(authority.ca), **own)
    route.produce([b"a"])
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"a"]
    for wrong, words in (
        ({"ca": str(other.ca), **own}, "not trusted"),
        ({"ca": str(authority.ca)}, "client's cert and key"),
        ({"ca": str(tmp_path / "none.pem"), **own}, r"look at redis\.ca .*none\.pem"),
    ):
        refused = route.opened("w2", url=url, **wrong)
        with pytest.raises(TlsFailed, match=words):
            wait_for("the refusal", lambda refused=refused: refused.poll(1, 0.1))
        refused.close(1)
    silent = RedisSettings(url=f"rediss://127.0.0.1:{server.port}", ca=str(authority.ca), connect_timeout_s=0.5)
    with pytest.raises(Exception, match="Timeout") as caught:
        connect(silent, "test", retries=0).ping()
    assert "does this port speak TLS" in str(failure(silent, caught.value))
    route.close()
    front.close()


def test_a_worker_follows_its_sentinels_to_the_new_master() -> None:
    """What the replica had when the master was killed is answered, and so is what comes after."""
    with (
        LocalRedis() as master,
        LocalRedis(config=[f"replicaof 127.0.0.1 {master.port}"]) as replica,
        sentinel_of(master) as url,
    ):
        route = RedisRoute(master.url, "t")
        before, after = [b"%d" % n for n in range(100)], [b"%d" % n for n in range(100, 200)]
        route.produce(before)
        assert route.client.wait(1, 10_000) == 1
        member = Member(route.connector("w1", url=url), batch=20)  # type: ignore[arg-type]  # a connector of Redis
        master.kill()
        member.start()
        there = RedisRoute(replica.url, "t")
        wait_for("the replica is the master", lambda: there.client.info("replication")["role"] == "master")
        there.produce(after)
        wait_for("all are answered", lambda: {*before, *after} <= set(there.results) and there.is_done)
        member.stop()
        assert member.errors == []
        route.close()
        there.close()


def test_a_cluster_that_is_away_at_the_start_is_waited_for() -> None:
    [port] = free_ports(1)
    route = RouteSettings(request_topic="{a}.q", result_topic="{a}.r", dead_letter_topic="{a}.d", group="g")
    connector = RedisConnector(route, RedisSettings(url=f"redis+cluster://127.0.0.1:{port}"), "w1")
    connector.open()
    assert not connector.poll(1, 0.05)
    assert not connector.poll(0, 0.0)
    connector.close(1)
    with pytest.raises(ConnectorError, match="can not be reached"):
        inspect(Settings(redis=RedisSettings(url=f"redis+cluster://127.0.0.1:{port}"), routes={"a": route}))


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalRedisCluster]:
    with LocalRedisCluster(append_only=True) as local:
        yield local


@pytest.mark.parametrize("results", ["hash", "stream"])
def test_a_route_in_a_cluster_is_answered_on_the_node_that_has_it(cluster: LocalRedisCluster, results: str) -> None:
    for name in ("{a}", "{b}", "{c}"):  # on a node each
        route = RedisRoute(cluster.url, f"{name}{results}", redis={"results": results})
        route.produce([b"a", b"b"], key=b"k")
        left = route.opened("w0")
        assert poll(left, 2)
        left.close(5)
        connector = route.opened("w1")
        answer(connector, poll(connector, 2))
        connector.close(5)
        assert route.is_done
        if results == "stream":
            assert route.results == [b"a", b"b"]
        else:
            assert route.client.hgetall(f"{route.settings.result_topic}:k") == {b"value": b"b"}
        route.close()


def test_a_worker_in_a_cluster_needs_no_more_than_the_documentation_says(cluster: LocalRedisCluster) -> None:
    rules = f"on >work-secret ~{{f}}* {worker_commands()} +cluster|slots +command"
    for node in cluster.nodes:
        client = connect(RedisSettings(url=node.url), "admin")
        client.execute_command("ACL SETUSER", "worker", *rules.split())
        client.close()
    route = RedisRoute(cluster.url, "{f}")
    route.produce([b"a"])
    connector = route.opened("w1", username="worker", password="work-secret")
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"a"]
    route.close()


def test_topics_of_a_route_that_lie_on_different_nodes_are_refused(cluster: LocalRedisCluster) -> None:
    route = RedisRoute(cluster.url, "t")
    connector = route.connector("w1")
    with pytest.raises(InvalidSettings, match="another slot"):
        connector.open()
    route.close()


def test_a_reply_address_on_another_node_is_refused(cluster: LocalRedisCluster) -> None:
    route = RedisRoute(cluster.url, "{d}", reply_topics=("*",))
    route.produce([b"astray", b"b"])
    connector = route.opened("w1")

    def reply(record: Record) -> Answer:
        return Answer(record.value, record.key, (), "{elsewhere}" if record.value == b"astray" else None)

    answer(connector, poll(connector, 2), reply)
    connector.close(5)
    assert route.results == [b"b", b"refused reply_refused"]
    assert route.is_done
    route.close()


def test_a_worker_in_a_cluster_waits_for_its_node(cluster: LocalRedisCluster) -> None:
    route = RedisRoute(cluster.url, "{e}")
    connector = route.opened("w1")
    assert not connector.poll(1, 0.05)
    port = route.client.get_node_from_key("{e}.q").port
    [node] = [node for node in cluster.nodes if node.port == port]
    node.kill()
    assert not connector.poll(1, 0.2)
    node.start()
    wait_for("the node is back", lambda: _is_back(route))
    route.produce([b"a"])
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"a"]
    route.close()


def _is_back(route: RedisRoute) -> bool:
    try:
        return bool(route.client.exists("{e}.q"))
    except Exception:  # noqa: BLE001  # whatever a client says of a node that is away
        return False
