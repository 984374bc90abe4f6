"""Entries of Cluster Serving: ``uri``, ``data`` and perhaps ``serde``, or plain ones. Results are as those of all."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.redis.entries import PlainEntries, more_than_most
from connectors.redis.record import RedisRecord, record_of
from pipeline import redis_wire
from pipeline.codecs.cluster_serving import entry


class ClusterServingEntries(PlainEntries):
    """See Entries: a record is the JSON that the same request would be on a topic, and its key is ``uri``.

    So its result is the hash ``<result topic>:<uri>``, of which their clients read ``value`` alone. Fields that are not
    theirs are headers. An entry with ``value`` and no ``uri`` is one of ours: its value may be that JSON, or what its
    content type says.
    """

    def record(self, entry_id: bytes, fields: Sequence[bytes]) -> RedisRecord:
        """See Entries."""
        if fields[:1] == [redis_wire.VALUE] and entry.URI not in fields[::2]:
            return super().record(entry_id, fields)
        topic = self._route.request_topic
        value, uri, headers, fault = entry.of_fields(fields)
        fault = more_than_most(fields) or fault
        if fault:
            return record_of(topic, entry_id, fields, b"", uri, (), fault)
        return record_of(topic, entry_id, fields, value, uri, headers)
