"""How much librdkafka may hold for a route, before a request is taken and after its answer is given: pure functions.

Defaults below what the ``kafka:`` section sets. Names have ``_`` for ``.``, as ``kafka_properties`` takes them.
"""

from __future__ import annotations

from typing import Final

from pipeline.kafka_properties import Scalar
from pipeline.settings import RouteSettings

# The most that the client can be told: of its queues, of a message, of a response.
_HIGHEST_QUEUE_KBYTES: Final = 2**21 - 1
_HIGHEST_MESSAGE_BYTES: Final = 10**9
_HIGHEST_RESPONSE_BYTES: Final = 2**31 - 1
# The client's own: a response, or a message, may always be as large as this.
_RESPONSE_BYTES: Final = 100_000_000
_MESSAGE_BYTES: Final = 1_000_000
# After which a full queue is looked at again. The client's own second is as long as a fast route takes to empty one.
_FULL_QUEUE_MS: Final = 20
# What a record has beside its value: a key, headers, among them those of a dead letter.
_ASIDE_BYTES: Final = 64 * 1024


def consumer(route: RouteSettings) -> dict[str, Scalar]:
    """Return what bounds the records that are fetched ahead: one batch's share of ``max_in_flight_bytes``.

    librdkafka fetches while its queue has less, and takes ``fetch.max.bytes`` from the same number, so that it holds
    twice as much at most, for each broker that leads a partition. A record that is larger comes through all the same,
    alone in its response, which must be allowed to be so large.
    """
    share_bytes = route.max_in_flight_bytes // route.max_batches_in_flight
    response_bytes = max(_RESPONSE_BYTES, max(route.max_record_bytes, share_bytes) + _ASIDE_BYTES)
    return {
        "queued_max_messages_kbytes": _kbytes(share_bytes),
        "fetch_queue_backoff_ms": _FULL_QUEUE_MS,
        "receive_message_max_bytes": min(response_bytes, _HIGHEST_RESPONSE_BYTES),
    }


def producer(route: RouteSettings) -> dict[str, Scalar]:
    """Return what bounds the answers that the broker has not accepted: as much as the requests may take.

    A result, and a request that becomes a dead letter, must fit whatever their size; whether the topic takes it is the
    broker's word. Where the queue is full, answers wait, and with them the route.
    """
    largest_bytes = max(route.max_record_bytes, route.max_result_bytes) + _ASIDE_BYTES
    return {
        "message_max_bytes": min(max(_MESSAGE_BYTES, largest_bytes), _HIGHEST_MESSAGE_BYTES),
        "queue_buffering_max_kbytes": _kbytes(max(route.max_in_flight_bytes, largest_bytes)),
    }


def _kbytes(size_bytes: int) -> int:
    return min(max(1, -(-size_bytes // 1024)), _HIGHEST_QUEUE_KBYTES)
