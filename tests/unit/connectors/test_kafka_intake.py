"""What a consumer brings is cut by count and by bytes; nothing is lost, doubled, or taken out of order."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, strategies as st

from connectors.kafka.intake import Intake


class FakeMessage:
    def __init__(self, offset: int, size: int, partition: int = 0) -> None:
        self.offset, self._size, self._partition = offset, size, partition

    def __len__(self) -> int:
        return self._size

    def topic(self) -> str:
        return "q"

    def partition(self) -> int:
        return self._partition


class FakeConsumer:
    """Has ``there`` at once; after that each wait brings one message of ``later``, and takes a second."""

    def __init__(self, there: list[FakeMessage], later: list[FakeMessage] | None = None) -> None:
        self.there, self.later = deque(there), deque(later or [])
        self.now_s = 0.0
        self.most_taken = 0

    def poll(self, timeout: float = 0) -> Any:
        if self.there:
            return self.there.popleft()
        if timeout > 0:
            self.now_s += min(timeout, 1.0)
            return self.later.popleft() if self.later else None
        return None

    def consume(self, num_messages: int = 1, timeout: float = 0) -> list[Any]:
        assert timeout == 0
        self.most_taken = max(self.most_taken, num_messages)
        return [self.there.popleft() for _ in range(min(num_messages, len(self.there)))]


def messages(*sizes: int) -> list[FakeMessage]:
    return [FakeMessage(offset, size) for offset, size in enumerate(sizes)]


@given(
    sizes=st.lists(st.sampled_from([0, 1, 10, 99, 100, 101, 5000]), max_size=40),
    max_records=st.integers(1, 12),
    max_bytes=st.integers(1, 300),
    later=st.integers(0, 5),
    max_wait_s=st.sampled_from([0.0, 3.0]),
)
def test_batches_keep_both_limits_and_are_all_of_it_in_order(sizes, max_records, max_bytes, later, max_wait_s):
    sent = messages(*sizes)
    consumer = FakeConsumer(sent[: len(sent) - later], sent[len(sent) - later :])
    intake = Intake(max_wait_s, lambda: consumer.now_s)
    got: list[FakeMessage] = []
    while batch := intake.take(consumer, max_records, max_bytes, 1.0):
        assert len(batch) <= max_records
        assert sum(map(len, batch)) <= max_bytes or len(batch) == 1
        got += batch
    assert [it.offset for it in got] == [it.offset for it in sent]


def test_small_messages_are_taken_with_one_call():
    consumer = FakeConsumer(messages(*[100] * 2000))
    assert len(Intake(0).take(consumer, 512, 1 << 20, 1.0)) == 512
    assert consumer.most_taken == 511


def test_large_messages_are_not_taken_from_the_client_before_there_is_room_for_them():
    """Two of 5 are too many for 8: one is taken too much, and not five hundred."""
    consumer = FakeConsumer(messages(*[5] * 600))
    intake = Intake(0)
    assert len(intake.take(consumer, 512, 8, 1.0)) == 1
    assert len(consumer.there) >= 598
    assert [len(intake.take(consumer, 512, 8, 1.0)) for _ in range(599)] == [1] * 599


@given(
    sizes=st.lists(st.sampled_from([0, 1, 10, 99]), max_size=40),
    taken=st.integers(1, 5),
    most=st.integers(1, 20),
    max_wait_s=st.sampled_from([0.0, 3.0]),
)
def test_what_was_looked_at_comes_next_and_is_not_waited_for(sizes, taken, most, max_wait_s):
    consumer = FakeConsumer(messages(*sizes))
    intake = Intake(max_wait_s, lambda: consumer.now_s)
    batch = intake.take(consumer, taken, 1000, 0.0)
    intake.put_back(batch)
    before_s, held = consumer.now_s, len(intake.kept)
    intake.look_ahead(consumer, most, 1000)
    assert consumer.now_s == before_s
    assert len(intake.kept) == max(held, min(most, len(sizes)))
    assert [it.offset for it in intake.kept] == list(range(len(intake.kept)))
    assert [it.offset for it in intake.take_kept(taken, 1000)] == [it.offset for it in batch]
    rest = [it.offset for it in iter(lambda: intake.take(consumer, 7, 1000, 0.0), []) for it in it]
    assert rest == list(range(len(batch), len(sizes)))


def test_the_consumer_takes_part_in_its_group_with_each_batch_however_much_is_kept():
    class Counting(FakeConsumer):
        calls = 0

        def consume(self, num_messages: int = 1, timeout: float = 0) -> list[Any]:
            self.calls += 1
            return super().consume(num_messages, timeout)

    for limits in ((4, 1000), (1000, 20)):  # full by number, and by size
        consumer = Counting(messages(*[5] * 100))
        intake = Intake(0)
        intake.put_back(intake.take(consumer, 4, 20, 0.0))
        intake.look_ahead(consumer, 40, 200)
        for _ in range(8):
            before = consumer.calls
            assert len(intake.take(consumer, *limits, 0.0)) == 4
            assert consumer.calls == before + 1


def test_a_consumer_is_asked_for_no_more_than_it_can_return_at_once():
    consumer = FakeConsumer(messages(0, 0))
    intake = Intake(0)
    intake.keep(consumer.poll())
    intake.look_ahead(consumer, 1 << 30, 1 << 30)
    assert consumer.most_taken == 1_000_000


def test_no_more_is_looked_at_than_has_room():
    consumer = FakeConsumer(messages(*[5] * 600))
    intake = Intake(0)
    intake.put_back(intake.take(consumer, 1, 50, 0.0))
    intake.look_ahead(consumer, 512, 50)
    assert 10 <= len(intake.kept) <= 20


def test_a_batch_is_waited_for_only_as_long_as_is_set_and_only_while_it_is_not_full():
    consumer = FakeConsumer(messages(1), messages(1, 1, 1, 1, 1))
    assert len(Intake(2.5, lambda: consumer.now_s).take(consumer, 10, 100, 1.0)) == 4
    assert consumer.now_s == 2.5
    full = FakeConsumer(messages(1), messages(9, 9, 9))
    assert len(Intake(60.0, lambda: full.now_s).take(full, 10, 10, 1.0)) == 2
    assert full.now_s == 1.0


def test_what_is_kept_of_a_partition_that_is_gone_does_not_come_any_more():
    consumer = FakeConsumer([FakeMessage(offset, 6, partition=offset % 2) for offset in range(2)])
    intake = Intake(0)
    intake.keep(FakeMessage(7, 1, partition=1))
    intake.keep(FakeMessage(8, 1, partition=0))
    intake.forget([("q", 1)])
    assert [it.offset for it in intake.take(consumer, 10, 100, 1.0)] == [8, 0, 1]


def test_a_rebalance_in_the_middle_of_a_batch_takes_what_it_revoked_and_loses_nothing_else():
    class Rebalancing(FakeConsumer):
        def consume(self, num_messages: int = 1, timeout: float = 0) -> list[Any]:
            intake.forget([("q", 1)])
            return super().consume(num_messages, timeout)

    intake = Intake(0)
    intake.keep(FakeMessage(7, 1, partition=1))
    assert [it.offset for it in intake.take(Rebalancing(messages(1, 1)), 10, 100, 1.0)] == [0, 1]
