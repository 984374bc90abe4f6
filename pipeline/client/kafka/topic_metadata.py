"""What the broker says about a topic, asked until it answers or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from pipeline.errors import ConnectorError

# A topic that was made a moment ago may not be known to every broker yet.
_TOPIC_GRACE_S: Final = 1.0
_RETRY_S: Final = 0.05


Explain = Callable[[KafkaError], ConnectorError | None]


def count_partitions(client: Consumer | Producer, topic: str, timeout_s: float, explain: Explain) -> int:
    """Return how many partitions a topic has; ConnectorError where it has none, or no broker answers in time.

    ``explain`` knows which ACL an error is about, if it is about one; that error is raised at once.

    A Consumer must not be polled by another thread meanwhile: that thread would keep this one out for ever (measured
    with confluent-kafka 2.16, whose consumer runs one call at a time, in no order).
    """
    grace_ends_s = time.monotonic() + min(_TOPIC_GRACE_S, timeout_s / 2)

    def count(left_s: float) -> int | None:
        found = client.list_topics(topic, left_s).topics[topic]
        refusal = None if found.error is None else explain(found.error)
        if refusal is not None:
            raise refusal
        if found.error is not None and time.monotonic() > grace_ends_s:
            reason = f"{found.error.str()}; `penstock topics` creates the topics of a route"
            raise ConnectorError(f"topic {topic}", reason)
        return len(found.partitions) or None

    return ask(topic, timeout_s, count)


def ask(topic: str, timeout_s: float, question: Callable[[float], int | None]) -> int:
    """Return the answer to a question, which gets the seconds that are left and is asked again where it has none.

    Raises ConnectorError after ``timeout_s``, with the last thing that Kafka said.
    """
    deadline_s = time.monotonic() + timeout_s
    reason = "no answer"
    while (left_s := deadline_s - time.monotonic()) > 0:
        try:
            answer = question(left_s)
        except KafkaException as error:
            reason = error.args[0].str()
            if error.args[0].fatal():
                break
        else:
            if answer is not None:
                return answer
        time.sleep(min(_RETRY_S, max(0.0, deadline_s - time.monotonic())))
    raise ConnectorError(f"kafka for topic {topic}", f"{reason} within {timeout_s:g} s")
