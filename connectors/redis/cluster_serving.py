"""Entries of Cluster Serving: ``uri``, ``data`` and perhaps ``serde``. Results are hashes, as all are."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.redis.entries import MOST_WORDS, PlainEntries
from connectors.redis.record import RedisRecord, record_of
from pipeline.codecs.cluster_serving import entry
from pipeline.codecs.cluster_serving.entry import Entry

_URI, _DATA, _SERDE = b"uri", b"data", b"serde"


class ClusterServingEntries(PlainEntries):
    """See Entries: a record is the JSON that the same request would be on a topic, and its key is ``uri``.

    So its result is the hash ``<result topic>:<uri>``, of which their clients read ``value`` alone. Fields that are not
    theirs are headers.
    """

    def record(self, entry_id: bytes, fields: Sequence[bytes]) -> RedisRecord:
        """See Entries."""
        topic = self._route.request_topic
        found = dict(zip(reversed(fields[::2]), reversed(fields[1::2]), strict=False))  # of two, the first counts
        uri, data, serde = (found.pop(name, None) for name in (_URI, _DATA, _SERDE))
        if len(fields) > MOST_WORDS:
            fault = f"the entry has {len(fields) // 2} fields, at most {MOST_WORDS // 2} are read"
        elif uri is None or data is None:
            fault = f"the entry has no field {(_DATA if data is None else _URI).decode()}"
        else:
            try:
                value = entry.write(Entry(uri.decode(), data.decode(), None if serde is None else serde.decode()))
                headers = [(name.decode(), text) for name, text in found.items()]
            except UnicodeDecodeError as error:
                fault = f"a field of the entry is not UTF-8: {error}"
            else:
                return record_of(topic, entry_id, fields, value, uri, headers)
        return record_of(topic, entry_id, fields, b"", uri, (), fault)
