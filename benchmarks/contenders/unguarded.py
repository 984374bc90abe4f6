"""The shortest loop that computes: what a round trip costs by hand when nothing is promised.

The echo's loop, with fastavro and OpenVINO between: no linger, nothing is waited for, offsets are committed in the
background. Whoever kills it may lose what it has read and not yet answered.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from benchmarks.contenders import echo, work

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place

NAME = "unguarded"
DESCRIPTION = "confluent-kafka + fastavro + OpenVINO by hand: one by one, no guarantee"


def command(place: Place) -> list[str | Path]:
    """Return the command that runs this file."""
    return [sys.executable, "-m", __name__, json.dumps(work.settings_for(place))]


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    answer = work.Work(told)
    echo.serve(told, lambda value: answer([value])[0])
