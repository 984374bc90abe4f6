"""The loop written by hand, with a model of its own for each stream: what answers many streams without a server.

See hand_written, of which it takes all but the work: requests of one poll are grouped by the servable that they name.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import hand_written, work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.place import Place

# The best of 8,000 and 16,000: with 1,000 streams a call has so many thousandths of it.
BATCH_SIZE = 16_000


@dataclass(frozen=True)
class ByHand:
    """The loop with so many streams; see Rival."""

    streams: int

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        return f"hand_written-{self.streams}-streams"

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802  # see Rival
        """What it is."""
        return f"{hand_written.DESCRIPTION}, {self.streams} streams"

    def command(self, place: Place) -> list[str | Path]:
        """Return the command that runs this file."""
        from benchmarks.produce import stream_names  # noqa: PLC0415  # the loop's process does without it

        more = {"batch_size": BATCH_SIZE, "names": stream_names(self.streams)}
        return [sys.executable, "-m", __name__, json.dumps({**work.settings_for(place), **more})]


class Work:
    """Requests to results, both as bytes, in one batch, stream by stream."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._codec = work.FastAvro()
        self._models = {name: work.load_model(settings["model"], settings["openvino"]) for name in settings["names"]}

    def __call__(self, values: Sequence[bytes | None]) -> list[bytes]:
        """Return the result of each request, in their order."""
        groups: dict[str, list[tuple[int, tuple[str, bytes]]]] = defaultdict(list)
        for position, value in enumerate(values):
            request = self._codec.read(value)
            groups[request["servable"]].append((position, (request["id"], request["inputs"][0]["data"])))
        results = [b""] * len(values)
        for name, group in groups.items():
            answered = work.answer(self._codec, self._models[name], [request for _, request in group])
            for (position, _), result in zip(group, answered, strict=True):
                results[position] = result
        return results


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    hand_written.run(told, Work(told))
