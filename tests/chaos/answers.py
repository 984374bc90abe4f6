"""What came of the requests of a run, as the result topic and the dead-letter topic tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from confluent_kafka import Message

from pipeline.codecs.avro_codec import AvroCodec
from tests.chaos.accounting import Answered

_CODEC = AvroCodec()


class Answers:
    """Grows on the collectors' threads; read on any, whole after their end."""

    def __init__(self) -> None:
        self.all: list[Answered] = []
        self.letters: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self._first_at_s: dict[str, float] = {}
        self._versions: set[int] = set()
        self._last_at_s: dict[int, float] = {}
        self.longest_silence_s = 0.0  # between two answers of one partition

    def take_result(self, message: Message) -> None:
        """Take one record of the result topic."""
        result = _CODEC.decode_result(message.value() or b"")
        source, partition = result.source, message.partition()
        assert source is not None, result
        assert partition is not None
        row = None if result.error else float(result.outputs[0].array()[0, 0])
        kind = result.error.code if result.error else "result"
        answered = Answered(result.id, kind, partition, source.partition, result.version, row)
        now_s = time.monotonic()
        with self._lock:
            self.all.append(answered)
            self._first_at_s.setdefault(result.id, now_s)
            self.longest_silence_s = max(self.longest_silence_s, now_s - self._last_at_s.get(partition, now_s))
            self._last_at_s[partition] = now_s
            if result.error is None and result.version is not None:
                self._versions.add(result.version)

    def take_letter(self, message: Message) -> None:
        """Take one record of the dead-letter topic."""
        headers = dict(message.headers() or ())
        id_ = headers.get("x-request-id", b"")
        self.letters.append((id_.decode() if isinstance(id_, bytes) else id_, message.value() or b""))

    def distinct(self) -> int:
        """Return how many requests have an answer."""
        with self._lock:
            return len(self._first_at_s)

    def has_version(self, version: int) -> bool:
        """Whether any answer is by this version."""
        with self._lock:
            return version in self._versions

    def waits_s(self, asked_at_s: Mapping[str, float]) -> list[float]:
        """Return how long requests have waited for their first answer, from shortest to longest."""
        with self._lock:
            return sorted(at_s - asked_at_s[id_] for id_, at_s in self._first_at_s.items() if id_ in asked_at_s)
