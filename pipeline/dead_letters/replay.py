"""Sending dead letters back: the request's key, value and headers as they were, and how often it has been tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties, kafka_refusals
from pipeline.dead_letters import headers
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.reader import Kafka
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl

# Waits so many seconds; returns whether the replay shall stop.
Wait = Callable[[float], bool]
# Whether requests may be sent back to a topic.
IsAllowed = Callable[[str], bool]

_CHUNK: Final = 100
_TIMEOUT_S: Final = 30.0


class Skipped(msgspec.Struct, frozen=True):
    """A dead letter that can not be sent, and why."""

    partition: int
    offset: int
    reason: str


def obstacle(letter: DeadLetter, to: str, is_allowed: IsAllowed) -> str:
    """Return why a letter can not be sent, or nothing. ``to`` is empty for its own topic, which must be allowed. Pure.

    Headers can be written by whoever may write to the topic, so they do not decide alone where requests go.
    """
    if letter.said.omitted_bytes is not None:
        return f"its value was left out; the request is {letter.origin}, as long as it is kept there"
    if letter.value is None:
        return "it has no value"
    if to:
        return ""
    if not letter.said.topic:
        return "its headers do not say where it came from; name a topic with --to"
    if not is_allowed(letter.said.topic):
        return f"it came from {letter.said.topic}, which is no request topic of the settings; name it with --to"
    return ""


class Replay:
    """Sends letters to the topics they came from, or all to one, at most so many a second (0: as fast as it goes).

    On the partition that the request had, where the topic is its own and has it; else the key decides. For one thread.
    """

    def __init__(self, kafka: Kafka, *, to: str = "", is_allowed: IsAllowed, rate_per_s: float = 0.0) -> None:
        self._kafka = kafka
        properties: dict[str, Any] = {
            "log_level": 2,
            **kafka_properties.producer(kafka, "penstock-replay", linger_ms=5),
        }
        properties["error_cb"] = lambda _error: None  # what goes wrong is raised; else librdkafka would print it
        properties.setdefault("message.max.bytes", 1_000_000_000)  # the topic says what is too large
        try:
            self._producer = Producer(properties)
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._to, self._is_allowed, self._rate_per_s = to, is_allowed, rate_per_s
        self._partitions: dict[str, int] = {}
        self._failure: ConnectorError | None = None
        self.sent = 0
        self.skipped: list[Skipped] = []
        self.next_offsets: dict[int, int] = {}
        """By partition of the dead letters: everything before is done. Current after each chunk."""

    def run(self, letters: Iterable[DeadLetter], wait: Wait, on_chunk: Callable[[dict[int, int]], None]) -> None:
        """Send letters until there are no more, or ``wait`` says stop.

        ``on_chunk`` gets ``next_offsets`` whenever the broker has accepted everything before them: every 100 letters,
        each letter where they go slowly, and at the end. Raises ConnectorError when one is refused; what was accepted
        before it is in ``next_offsets`` then.
        """
        done: dict[int, int] = {}
        for count, letter in enumerate(letters, start=1):
            reason = obstacle(letter, self._to, self._is_allowed)
            if reason:
                self.skipped.append(Skipped(letter.partition, letter.offset, reason))
            else:
                self._send(letter)
            done[letter.partition] = letter.offset + 1
            if count % _CHUNK == 0 or 0 < self._rate_per_s <= _CHUNK:
                self._accept(done, on_chunk)
            if not reason and self._rate_per_s and wait(1 / self._rate_per_s):
                break
        self._accept(done, on_chunk)

    def _send(self, letter: DeadLetter) -> None:
        topic, said = self._to or letter.said.topic, letter.said
        partition = -1
        if topic == said.topic and said.partition is not None and said.partition < self._partition_count(topic):
            partition = said.partition
        elif not self._partition_count(topic):
            raise ConnectorError(f"topic {topic}", "does not exist; name another with --to, or create it")

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                self.sent += 1
            else:
                self._refuse(letter, topic, error)

        own: list[tuple[str, str | bytes | None]] = [*headers.for_replay(said)]
        while True:
            try:
                self._producer.produce(topic, letter.value, letter.key, partition, on_delivery=on_delivery, headers=own)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._refuse(letter, topic, error.args[0])
                return
            else:
                return

    def _refuse(self, letter: DeadLetter, topic: str, error: KafkaError) -> None:
        if self._failure is None:
            reason = f"refused the letter {letter.place}: {kafka_refusals.text_of(error, self._kafka)}"
            refusal = kafka_refusals.explain_request(error, self._kafka, Acl("topic", topic, "Write"))
            self._failure = refusal or ConnectorError(f"topic {topic}", reason)

    def _accept(self, done: dict[int, int], on_chunk: Callable[[dict[int, int]], None]) -> None:
        left = self._producer.flush(_TIMEOUT_S)
        if self._failure is not None:
            raise self._failure
        if left:
            raise ConnectorError("replay", f"{left} letters were not accepted within {_TIMEOUT_S:g} s")
        self.next_offsets.update(done)
        on_chunk(self.next_offsets)

    def _partition_count(self, topic: str) -> int:
        count = self._partitions.get(topic)
        if count is None:
            try:
                # All topics: asking for one by name may create it.
                found = self._producer.list_topics(timeout=_TIMEOUT_S).topics.get(topic)
            except KafkaException as error:
                raise ConnectorError(f"topic {topic}", str(error.args[0])) from error
            count = self._partitions[topic] = len(found.partitions) if found is not None else 0
        return count
