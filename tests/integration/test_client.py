"""The client against each real broker, and a worker of some lines that answers as the contract says."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from pipeline.client import (
    AsyncInputQueue,
    AsyncOutputQueue,
    ConnectorError,
    InputQueue,
    OutputQueue,
    RemoteError,
    TimedOut,
)
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.errors import InvalidSettings
from pipeline.local.kafka import LocalKafka
from pipeline.records import PredictResult
from pipeline.tensors import from_array
from tests.integration.echo_workers import KafkaEcho, RedisEcho
from tests.waiting import wait_for

# How late a busy machine may notice that a time is over.
LATE_S = 5.0


@dataclass
class Broker:
    """One of the brokers that the client talks to, and the worker there."""

    address: str
    worker: type[KafkaEcho | RedisEcho]


@pytest.fixture(params=["kafka", "redis"])
def broker(request):
    running = request.getfixturevalue(request.param)
    return Broker(running.url, RedisEcho) if request.param == "redis" else Broker(running.bootstrap, KafkaEcho)


def running(worker):
    worker.prepare()
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.stopping.set()
    thread.join(10)


@pytest.fixture
def place(broker, topic_name):
    return {"route": topic_name, "bootstrap": broker.address}


@pytest.fixture
def worker(broker, topic_name):
    yield from running(broker.worker(broker.address, topic_name))


@pytest.fixture
def kafka_place(kafka, topic_name):
    return {"route": topic_name, "bootstrap": kafka.bootstrap}


@pytest.fixture
def kafka_worker(kafka, topic_name):
    yield from running(KafkaEcho(kafka.bootstrap, topic_name))


ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


def test_predict_returns_the_array_of_one_output_and_the_dict_of_several(place, worker):
    with InputQueue(**place) as queue:
        np.testing.assert_array_equal(queue.predict({"x": ROW}, timeout=20), ROW)
        several = queue.predict({"x": ROW, "name": ["a", "b"]}, timeout=5)
        assert list(several) == ["x", "name"]
        assert several["name"].tolist() == [b"a", b"b"]
        one = queue.predict(ROW)
        one += 1  # the caller's own
        assert one.dtype == np.float32
        assert queue.predict('{"instances": [{"x": [1.5, 2]}, {"x": [3, 4]}]}').tolist() == [[1.5, 2], [3, 4]]


def test_json_requests_get_json_results(place, worker):
    with InputQueue(**place, format="json") as queue:
        np.testing.assert_array_equal(queue.predict({"x": ROW}, timeout=20), ROW)
        assert ("content-type", b"application/json") in worker.seen[0][2]


def test_what_the_options_say_reaches_the_worker(place, worker):
    with InputQueue(**place, servable="s") as queue:
        queue.predict(
            {"version": ROW},
            20,
            version=7,
            signature="sig",
            key="k",
            headers={"traceparent": "t"},
            parameters={"p": "1"},
        )
        request, key, record_headers = worker.seen[0]
        assert (request.servable, request.version, request.signature, key) == ("s", 7, "sig", b"k")
        assert request.parameters == {"p": "1"}
        assert ("traceparent", b"t") in record_headers
        assert abs(request.deadline_ms - time.time() * 1000 - 20_000) < 10_000


def test_a_first_answer_is_never_missed(place, worker):
    with InputQueue(**place) as warm:
        warm.predict(ROW, 20)
    for n in range(10):  # each a fresh connection, whose first request is answered at once
        with InputQueue(**place, client_id=f"client-{n}") as queue:
            np.testing.assert_array_equal(queue.predict(ROW, 5), ROW)


def test_an_error_result_is_raised_with_the_code_of_the_wire(place, worker):
    with InputQueue(**place) as queue, OutputQueue(**place) as results:
        with pytest.raises(RemoteError, match="it broke") as caught:
            queue.predict({"fail": 1}, 20)
        assert caught.value.code == "model_error"
        queue.enqueue("bad", fail=1)
        queue.enqueue("good", x=ROW)
        with pytest.raises(RemoteError):
            results.query("bad", timeout=5)
        results.query("good", timeout=5)
        values = results.dequeue()
        assert isinstance(values["bad"], RemoteError)
        np.testing.assert_array_equal(values["good"], ROW)


@pytest.mark.parametrize("key", [None, "my-key"])
def test_an_answer_without_an_id_finds_its_caller(place, worker, key):
    with InputQueue(**place) as queue, pytest.raises(RemoteError, match="no id"):
        queue.predict({"anonymous": 1}, 20, key=key)


def test_timeouts_are_what_they_say(place, worker):
    with InputQueue(**place) as queue, OutputQueue(**place) as results:
        queue.predict(ROW, 20)
        for timeout in (0.05, 0.3):
            started = time.monotonic()
            with pytest.raises(TimedOut):
                queue.predict({"ignore": 1}, timeout)
            assert timeout <= time.monotonic() - started < timeout + LATE_S
        started = time.monotonic()
        assert results.query("nobody", timeout=0.2) is None
        assert results.dequeue(timeout=0.2) == {}
        assert list(results.results(timeout=0.2)) == []
        with pytest.raises(TimedOut, match="nobody"):
            results.result("nobody", timeout=0.2)
        assert 0.8 <= time.monotonic() - started < 0.8 + LATE_S


def test_a_result_stays_until_it_is_deleted(place, worker):
    with InputQueue(**place) as queue, OutputQueue(**place) as results:
        assert queue.enqueue("a", x=ROW) == "a"
        np.testing.assert_array_equal(results.query("a", timeout=20), ROW)
        np.testing.assert_array_equal(results.query("a"), ROW)
        np.testing.assert_array_equal(results.query_and_delete("a"), ROW)
        assert results.query("a") is None
        assert results.dequeue() == {}


def test_an_output_queue_that_was_made_later_finds_the_results(place, worker):
    with InputQueue(**place) as queue:
        ids = queue.enqueue_many([(None, {"x": ROW + n}) for n in range(50)])
        queue.flush()
        wait_for("all results", lambda: len(queue._own().table._kept) == len(ids))
        with OutputQueue(**place) as results:
            record = results.result(ids[7], timeout=20)
            assert record.version == 1
            np.testing.assert_array_equal(record.outputs[0].array(), ROW + 7)
            rest = dict(results.results(timeout=1))
            assert set(rest) == set(ids) - {ids[7]}


def test_a_second_answer_to_one_request_is_not_a_second_result(place, worker):
    with InputQueue(**place) as queue, OutputQueue(**place) as results:
        queue.predict({"twice": ROW}, 20)
        queue.enqueue("t", twice=ROW)
        assert results.query_and_delete("t", timeout=5) is not None
        queue.predict(ROW, 5)  # whatever came before it, has come
        assert results.dequeue() == {}
        queue.enqueue("t", x=ROW)  # the same name again is another request
        assert results.query("t", timeout=5) is not None


def test_clients_on_one_partition_do_not_see_each_others_results(place, worker):
    clients = [InputQueue(**place, client_id=f"c{n}") for n in range(8)]  # more than partitions
    outputs = [OutputQueue(**place, client_id=f"c{n}").open() for n in range(8)]
    for n, client in enumerate(clients):
        client.enqueue("same-id", x=ROW + n)
    for n, output in enumerate(outputs):
        np.testing.assert_array_equal(output.query("same-id", timeout=20), ROW + n)
        assert list(output.dequeue()) == ["same-id"]
        output.close()
        clients[n].close()


def test_threads_predict_at_once_and_get_their_own(place, worker):
    with InputQueue(**place) as queue, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: queue.predict(ROW + n, 30), range(300)))
    assert all((answer == ROW + n).all() for n, answer in enumerate(answers))


def test_tasks_predict_at_once_and_get_their_own(place, worker):
    async def main():
        before = threading.active_count()
        async with AsyncInputQueue(**place) as queue:
            answers = await asyncio.gather(*(queue.predict(ROW + n, 30) for n in range(500)))
            assert threading.active_count() - before < 10
        assert all((answer == ROW + n).all() for n, answer in enumerate(answers))

    asyncio.run(main())


def test_the_asyncio_twins_do_what_the_others_do(place, worker):
    async def main():
        async with AsyncInputQueue(**place) as queue, AsyncOutputQueue(**place) as results:
            with pytest.raises(RemoteError, match="it broke"):
                await queue.predict({"fail": 1}, 20)
            started = time.monotonic()
            with pytest.raises(TimedOut):
                await queue.predict({"ignore": 1}, 0.2)
            assert 0.2 <= time.monotonic() - started < 0.2 + LATE_S
            await queue.enqueue("a", x=ROW)
            np.testing.assert_array_equal(await results.query("a", timeout=5), ROW)
            assert (await results.result("a")).id == "a"
            ids = await queue.enqueue_many([(None, {"x": ROW}) for _ in range(20)])
            got = {id_ async for id_, _ in results.results(timeout=1)}
            assert got == set(ids)
            assert await results.dequeue(timeout=0.1) == {}
            assert await results.query("b", timeout=0.1) is None

    asyncio.run(main())


def test_a_cancelled_predict_leaves_nothing_behind(place, worker):
    async def main():
        async with AsyncInputQueue(**place) as queue, AsyncOutputQueue(**place) as results:
            await queue.predict(ROW, 20)
            tasks = [asyncio.create_task(queue.predict(ROW, 20)) for _ in range(50)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.to_thread(wait_for, "the worker has them all", lambda: len(worker.seen) == 1 + len(tasks))
            await queue.predict(ROW, 20)  # whatever came before it, has come
            assert await results.dequeue() == {}
            waiting = asyncio.create_task(results.dequeue(timeout=20))
            await asyncio.to_thread(wait_for, "somebody waits for results", lambda: results._own().table._watchers)
            waiting.cancel()
            await queue.enqueue("a", x=ROW)
            assert list(await results.dequeue(timeout=20)) == ["a"]

    asyncio.run(main())


def test_a_group_reads_the_results_of_others_and_reads_again_what_was_not_handled(place, worker):
    with InputQueue(**place) as queue:
        ids = {*queue.enqueue_many([(f"r{n}", {"x": ROW}) for n in range(20)]), queue.enqueue("bad", fail=1)}
        with InputQueue(**place, client_id="waiter") as waiter:  # both partitions are answered
            for n in range(4):
                waiter.predict(ROW, 20, key=str(n))

        class Crash(Exception):
            pass

        first = {}

        def handle_and_crash():
            with OutputQueue(**place, group="g") as results:
                first.update(results.dequeue(timeout=20))
                raise Crash

        with pytest.raises(Crash):
            handle_and_crash()
        assert first
        seen = {}
        with OutputQueue(**place, group="g") as results:
            while len(seen) < len(ids) + 4:  # the waiter's too: the group reads what everybody asked
                more = results.dequeue(timeout=20)
                assert more, f"{len(seen)} of {len(ids)} came"
                seen |= more
            assert {*first, *ids} <= set(seen)
            assert isinstance(seen["bad"], RemoteError)
        with OutputQueue(**place, group="g") as results:
            assert results.dequeue(timeout=2) == {}
            with pytest.raises(InvalidSettings, match="by dequeue"):
                results.query("r1")


def test_a_group_has_every_result_of_one_id(place, worker):
    rows = [np.full_like(ROW, n) for n in range(5)]
    with InputQueue(**place) as queue, OutputQueue(**place, group="g") as results:
        for row in rows:
            queue.enqueue("a-customer", x=row)
        came = [results.dequeue(timeout=20) for _ in rows]
        assert [list(each) for each in came] == [["a-customer"]] * 5
        np.testing.assert_array_equal([each["a-customer"] for each in came], rows)
        assert results.dequeue(timeout=0.5) == {}


def test_a_member_of_a_group_reads_and_closes_in_time_although_the_broker_does_not_answer(topic_name):
    """It stands still, so that a connection to it is neither refused nor closed."""
    with LocalKafka() as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})  # named: its futures fail when it goes
        admin.create_topics([NewTopic(topic_name, 1)])[topic_name].result(20)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        result = AvroCodec().encode_result(PredictResult("a", "m", 1, (from_array("y", ROW),)))
        producer.produce(topic_name, result, b"a")
        assert producer.flush(20) == 0
        results = OutputQueue("m", bootstrap=kafka.bootstrap, result_topic=topic_name, group="g")
        assert set(results.dequeue(timeout=20)) == {"a"}
        pid = kafka.nodes[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            started_s = time.monotonic()
            assert results.dequeue(timeout=0.2) == {}  # commits the first
            results.close(0.2)
            assert time.monotonic() - started_s < 1.0 + LATE_S
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for("the group is left", lambda: "g-leaving" not in [thread.name for thread in threading.enumerate()])


def test_whoever_leaves_results_early_reads_the_others_later(place, worker):
    with InputQueue(**place) as queue:
        ids = queue.enqueue_many((f"r{n}", {"x": ROW}) for n in range(20))
        seen = []

        def leave(after, error=None):
            with OutputQueue(**place, group="g") as results:
                for id_, _ in results.results(timeout=20):
                    seen.append(id_)
                    if len(seen) == after:
                        if error is not None:
                            raise error
                        return

        leave(after=3)
        assert len(set(seen)) == 3
        with pytest.raises(InterruptedError):
            leave(after=5, error=InterruptedError())
        again = seen.pop()  # it was not handled
        leave(after=20)
        assert again in seen[4:]
        assert sorted(seen) == sorted(ids)


def test_whoever_leaves_results_early_reads_the_others_later_with_asyncio(place, worker):
    async def main():
        seen = []
        async with AsyncInputQueue(**place) as queue:
            ids = await queue.enqueue_many([(f"r{n}", {"x": ROW}) for n in range(10)])
            for after in (3, 10):
                async with AsyncOutputQueue(**place, group="g") as results:
                    async for id_, _ in results.results(timeout=20):
                        seen.append(id_)
                        if len(seen) == after:
                            break
        assert sorted(seen) == sorted(ids)

    asyncio.run(main())


class StuckLink:
    """A link to a broker that takes nothing; it is its own sender, and keeps for how long it was waited for."""

    def __init__(self):
        self.waited_s, self.sender = [], self

    def flush(self, timeout_s):
        self.waited_s.append(timeout_s)
        time.sleep(timeout_s)
        raise ConnectorError("here", f"nothing was taken in {timeout_s:g} s")

    def close(self, timeout_s):
        self.waited_s.append(timeout_s)


def test_closing_takes_no_longer_than_it_may_though_the_broker_takes_nothing():
    def queue(make):
        made = make(bootstrap="127.0.0.1:1")
        connection = made._own()
        connection._link, connection._is_linked, connection._can_send = StuckLink(), True, True
        return made, connection._link

    sync, link = queue(InputQueue)
    with pytest.raises(ConnectorError, match=r"nothing was taken in 0\.2 s"):
        sync.close(timeout=0.2)
    assert sum(link.waited_s) <= 0.2 + 0.5
    twin, link = queue(AsyncInputQueue)
    with pytest.raises(ConnectorError, match=r"nothing was taken in 0\.2 s"):
        asyncio.run(twin.close(timeout=0.2))
    assert sum(link.waited_s) <= 0.2 + 0.5


@pytest.mark.parametrize(
    ("timeout", "error"), [(None, TypeError), (float("inf"), ValueError), (float("nan"), ValueError)]
)
def test_a_prediction_has_a_time_after_which_nobody_waits(timeout, error):
    with pytest.raises(error):
        InputQueue(bootstrap="127.0.0.1:1").predict(ROW, timeout=timeout)
    with pytest.raises(error):
        asyncio.run(AsyncInputQueue(bootstrap="127.0.0.1:1").predict(ROW, timeout=timeout))


def test_a_cancelled_read_of_a_group_loses_nothing(place, worker):
    async def main():
        async with AsyncInputQueue(**place) as queue, AsyncOutputQueue(**place, group="g") as results:
            await results.dequeue(timeout=2)  # joins
            waiting = asyncio.create_task(results.dequeue(timeout=20))
            await asyncio.to_thread(wait_for, "the group is being read", lambda: results._reading)
            waiting.cancel()
            await queue.enqueue("a", x=ROW)
            assert list(await results.dequeue(timeout=20)) == ["a"]

    asyncio.run(main())


@pytest.mark.parametrize("address", ["127.0.0.1:1", "redis://127.0.0.1:1"])
def test_an_absent_broker_is_a_clear_error_in_time(address):
    nowhere = {"bootstrap": address, "connect_timeout_s": 1.0}
    for use in (
        lambda: InputQueue(**nowhere).enqueue("a", x=1),
        lambda: InputQueue(**nowhere).predict({"x": 1}, timeout=0.5),
        lambda: OutputQueue(**nowhere).dequeue(),
        lambda: OutputQueue(**nowhere, group="g").dequeue(),
        lambda: asyncio.run(AsyncInputQueue(**nowhere).predict({"x": 1}, timeout=0.5)),
    ):
        started = time.monotonic()
        with pytest.raises((ConnectorError, TimedOut), match=r"127\.0\.0\.1:1|refused|down|kafka"):
            use()
        assert time.monotonic() - started < 3


def test_a_missing_topic_is_a_clear_error(kafka_place, kafka_worker):
    with pytest.raises(ConnectorError, match=r"topic none\.results: .*penstock topics"):
        InputQueue("none", bootstrap=kafka_place["bootstrap"]).enqueue("a", x=1)
    with pytest.raises(ConnectorError, match=r"topic none\.requests: .*penstock topics"):
        InputQueue(**kafka_place, request_topic="none.requests").predict({"x": 1})


def test_a_request_that_is_too_large_says_what_to_raise(kafka_place, kafka_worker):
    with InputQueue(**kafka_place) as queue, pytest.raises(ConnectorError, match=r"message\.max\.bytes"):
        queue.enqueue("a", x=np.zeros(2_000_000, np.uint8))


def test_a_request_that_the_broker_refuses_fails_its_predict_and_the_next_call_after_its_enqueue(kafka, topic_name):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    small = {"max.message.bytes": "10000"}
    topics = [NewTopic(f"{topic_name}.requests", 1, 1, config=small), NewTopic(f"{topic_name}.results", 1, 1)]
    for made in admin.create_topics(topics).values():
        made.result(20)
    with InputQueue(topic_name, bootstrap=kafka.bootstrap) as queue:
        big = np.zeros(50_000, np.uint8)
        started = time.monotonic()
        with pytest.raises(ConnectorError, match="too large"):
            queue.predict(big, timeout=20)
        assert time.monotonic() - started < 5
        queue.enqueue("a", x=big)
        with pytest.raises(ConnectorError, match=r"request a .*1 earlier"):
            queue.flush()
        queue.flush()


def test_the_queues_of_one_process_share_one_connection_and_end_it(place, worker):
    before = set(threading.enumerate())  # what an earlier test has left behind ends when it ends

    def readers():
        return [it for it in threading.enumerate() if it.name.startswith("penstock-") and it not in before]

    first = InputQueue(**place).open()
    threads = readers()
    second, third = OutputQueue(**place).open(), InputQueue(**place).open()
    assert readers() == threads
    first.close()
    first.close()
    second.close()
    np.testing.assert_array_equal(third.predict(ROW, 20), ROW)
    third.close()
    assert readers() == []
    with pytest.raises(ConnectorError, match="closed"):
        first.enqueue("a", x=1)
    forgotten = InputQueue(**place).open()
    assert len(readers()) == len(threads)
    del forgotten
    gc.collect()
    wait_for("the threads of the forgotten one have ended", lambda: not readers(), timeout_s=5)


def test_what_was_enqueued_is_delivered_when_the_process_just_ends(place, worker):
    script = """
import sys
from pipeline.client import InputQueue
InputQueue(sys.argv[1], bootstrap=sys.argv[2]).enqueue("last", x=1)
"""
    subprocess.run([sys.executable, "-c", script, place["route"], place["bootstrap"]], check=True, timeout=30)
    wait_for("what was enqueued last", lambda: worker.seen)
    assert worker.seen[0][0].id == "last"


def test_a_forked_child_makes_its_own_connection(place, worker):
    script = """
import os, sys
from pipeline.client import InputQueue, OutputQueue
queue = InputQueue(sys.argv[1], bootstrap=sys.argv[2])
mine = queue.client_id
assert queue.predict(1, 20).tolist() == [1]
child = os.fork()
assert queue.predict(2 + (child == 0), 20).tolist() == [2 + (child == 0)]
assert (queue.client_id == mine) == (child != 0)
queue.close()
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    print("both")
"""
    command = [sys.executable, "-c", script, place["route"], place["bootstrap"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "both\n"), done.stderr


def test_a_topic_that_grows_changes_nothing_for_those_who_listen(kafka_place, kafka_worker, kafka):
    with InputQueue(**kafka_place) as queue:
        queue.predict(ROW, 20)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for made in admin.create_partitions([NewPartitions(f"{kafka_place['route']}.results", 9)]).values():
            made.result(20)
        np.testing.assert_array_equal(queue.predict(ROW, 20), ROW)
        topic, producer = f"{kafka_place['route']}.results", kafka_worker.producer
        wait_for("the worker hears of it", lambda: len(producer.list_topics(topic, 20).topics[topic].partitions) == 9)
        with InputQueue(**kafka_place, client_id="later") as later:
            np.testing.assert_array_equal(later.predict(ROW, 20), ROW)


def test_a_result_of_an_aborted_transaction_is_not_seen(kafka_place, kafka_worker, kafka):
    """A worker that answers exactly once may send an answer twice; the first one is aborted then."""
    with OutputQueue(**kafka_place, client_id="me") as results:
        results.open()
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "transactional.id": kafka_place["route"], "log_level": 0}
        )
        producer.init_transactions(20)
        endings = {b"aborted": producer.abort_transaction, b"committed": producer.commit_transaction}
        for text, end in endings.items():
            producer.begin_transaction()
            for partition in range(4):  # whichever it listens to
                result = PredictResult("one", "echo", 1, (from_array("y", np.array([text])),))
                value, named = AvroCodec().encode_result(result), [("client-id", b"me")]
                producer.produce(f"{kafka_place['route']}.results", value, None, partition, headers=named)
            assert producer.flush(20) == 0
            end(20)
        assert results.query("one", timeout=20).tolist() == [b"committed"]
