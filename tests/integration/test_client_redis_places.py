"""The client over Redis behind TLS, and behind sentinels; over a cluster it is in test_redis_cluster_client.py."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import redis as redis_py

from pipeline.client import AsyncInputQueue, ConnectorError, InputQueue, OutputQueue, TimedOut
from pipeline.errors import TlsFailed
from pipeline.local.redis import LocalRedis
from tests.integration.echo_workers import echo_answer, echoing
from tests.integration.members import Member, wait_for
from tests.integration.redis_members import RedisRoute, sentinel_of
from tests.integration.tls_front import TlsFront
from tests.security.certificates import Authority

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
DEADLINE_S = 40.0


@pytest.fixture
def server():
    with LocalRedis() as local:
        yield local


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "ca")


@pytest.fixture
def identity(authority):
    """What a client of an authority shows."""
    return {"ca": str(authority.ca), **dict(zip(("cert", "key"), map(str, authority.issue("client")), strict=True))}


@pytest.fixture
def make_front(server, authority):
    """Return what puts TLS, which wants a client's certificate, in front of the server."""
    certificate = authority.issue("server", hosts=("127.0.0.1",))
    made = []

    def make(port=0):
        made.append(TlsFront(server.port, *certificate, authority.ca, port))
        return made[-1]

    yield make
    for front in made:
        front.close()


def test_every_verb_of_the_client_works_over_tls(server, make_front, identity):
    place = {"bootstrap": f"rediss://127.0.0.1:{make_front().port}", "redis": identity}
    with (
        echoing(server.url, "m"),
        InputQueue("m", **place) as queue,
        OutputQueue("m", **place) as results,
        OutputQueue("m", group="g", **place) as shared,
    ):
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
        ids = set(queue.enqueue_many([(None, {"x": ROW})] * 20))
        queue.flush(DEADLINE_S)
        for id_ in ids:
            np.testing.assert_array_equal(results.query(id_, timeout=DEADLINE_S), ROW)
        found = set()
        wait_for("the group's results", lambda: found.update(shared.dequeue(timeout=1)) or ids <= found)

        async def main():
            async with AsyncInputQueue("m", **place) as twin:
                return await twin.predict({"x": ROW}, DEADLINE_S)

        np.testing.assert_array_equal(asyncio.run(main()), ROW)


def test_a_client_says_what_is_wrong_with_tls(server, make_front, identity, tmp_path):
    url = f"rediss://127.0.0.1:{make_front().port}"
    other = Authority(tmp_path, "other")
    for wrong, words in (
        ({**identity, "ca": str(other.ca)}, "not trusted"),
        ({"ca": identity["ca"]}, "client's cert and key"),
        ({"ca": str(tmp_path / "none.pem")}, r"look at redis\.ca .*none\.pem"),
    ):
        for make in (InputQueue, OutputQueue, lambda *a, **o: OutputQueue(*a, group="g", **o)):
            queue = make("m", bootstrap=url, redis=wrong)
            with pytest.raises(TlsFailed, match=words):
                queue.open()
            queue.close()
    plain = InputQueue("m", bootstrap=f"rediss://127.0.0.1:{server.port}", connect_timeout_s=0.5)
    with pytest.raises(ConnectorError, match="does this port speak TLS"):
        plain.open()
    plain.close()


def test_a_client_over_tls_goes_on_when_its_connections_are_cut(server, make_front, identity):
    front = make_front()
    place = {"bootstrap": f"rediss://127.0.0.1:{front.port}", "redis": identity}
    with echoing(server.url, "m"), InputQueue("m", **place) as queue, OutputQueue("m", **place) as results:
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
        front.close()
        with pytest.raises(TimedOut, match="can not be reached"):
            queue.predict({"x": ROW}, 0.5)
        queue.enqueue("meanwhile", x=ROW)
        make_front(front.port)
        queue.flush(DEADLINE_S)
        np.testing.assert_array_equal(results.query("meanwhile", timeout=DEADLINE_S), ROW)
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)


def test_what_a_replica_had_when_the_master_died_is_answered_and_the_client_goes_on():
    """The master is killed while requests that it took are computed, and others come meanwhile."""
    with (
        LocalRedis() as master,
        LocalRedis(config=[f"replicaof 127.0.0.1 {master.port}"]) as replica,
        sentinel_of(master) as url,
    ):
        place = {"bootstrap": url, "request_topic": "t.q", "result_topic": "t.r"}
        route = RedisRoute(replica.url, "t", reply_topics=("*",))
        member = Member(route.connector("w1", url=url), echo_answer, batch=20).start()
        with (
            InputQueue("m", **place) as queue,
            OutputQueue("m", **place) as results,
            OutputQueue("m", group="g", **place) as shared,
        ):
            ids = queue.enqueue_many([(None, {"x": ROW})] * 500)
            queue.flush(DEADLINE_S)
            with redis_py.Redis(port=master.port) as raw:
                raw.set("mark", 1)  # behind all that was flushed, and behind the groups
                assert raw.wait(1, 10_000) == 1
            master.kill()
            ids += [queue.enqueue(x=ROW) for _ in range(500)]
            queue.flush(DEADLINE_S)
            assert redis_py.Redis(port=replica.port).info("replication")["role"] == "master"
            found, of_group = set(), set()
            wait_for("all answers", lambda: found.update(results.dequeue(timeout=1)) or set(ids) <= found)
            wait_for("the group's", lambda: of_group.update(shared.dequeue(timeout=1)) or set(ids) <= of_group)
            assert found == set(ids)
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
        member.stop()
        assert member.errors == []
        route.close()
