"""The rival for large requests: the hand-written loop with a model that takes the first element of each.

Decoding by fastavro, all rows of a batch in one array, as any model would need them; then the answers, encoded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from benchmarks.contenders import hand_written, work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.place import Place

# At a time: as many small ones as the loop of ``throughput``, and of large ones so many bytes.
BATCH_BYTES: Final = 8 << 20


@dataclass(frozen=True)
class Loop:
    """The loop for requests of one size."""

    request_bytes: int
    NAME: ClassVar[str] = "hand_written"
    DESCRIPTION: ClassVar[str] = "confluent-kafka + fastavro + numpy by hand: batches, flush, synchronous commit"

    def command(self, place: Place) -> list[str | Path]:
        """Return the command that runs this file."""
        batch_size = max(1, min(hand_written.BATCH_SIZE, BATCH_BYTES // self.request_bytes))
        return [sys.executable, "-m", __name__, json.dumps({**work.settings_for(place), "batch_size": batch_size})]


def answers(codec: work.Codec, values: Sequence[bytes | None]) -> list[bytes]:
    """Return the result of each request, in their order; all have the same length."""
    requests = [codec.decode(value) for value in values]
    rows = np.empty((len(requests), len(requests[0][1]) // 4), np.float32)
    for row, (_, data) in zip(rows, requests, strict=True):
        row[:] = np.frombuffer(data, "<f4")
    first: np.ndarray[Any, Any] = rows[:, 0].copy()
    return [codec.encode(id_, one.tobytes()) for (id_, _), one in zip(requests, first, strict=True)]


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    codec = work.CODECS[told["codec"]]()
    hand_written.run(told, lambda values: answers(codec, values))
