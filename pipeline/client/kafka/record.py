"""What a record of Kafka tells about the request that it is, or answers."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from pipeline import kafka_headers
from pipeline.client import outgoing
from pipeline.errors import Undecodable


def id_of(message: Message) -> str:
    """Return the request id that a record's header tells, else its key; empty where it has neither."""
    try:
        headers: Any = kafka_headers.of(message)
    except Undecodable:
        headers = ()
    key: Any = message.key()
    return outgoing.id_of(headers, key)
