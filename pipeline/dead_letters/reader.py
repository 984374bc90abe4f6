"""LetterReader: how dead letters are read, whichever broker has them. The contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import Place


class LetterReader(Protocol):
    """Reads one dead-letter topic or stream, any number of times. Blocks; for one thread. Use it in a ``with`` block.

    It is made with the places to begin at, and perhaps with a group: then it begins where that is, and ``commit`` moves
    it. Without one nothing is remembered. Every method raises ConnectorError for a broker that does not answer in time
    or refuses.
    """

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of the connection."""
        ...

    def read(self) -> Iterator[DeadLetter]:
        """Yield the letters, in order in each lane, up to the end that there was when reading began the first time."""
        ...

    def commit(self, places: Iterable[Place]) -> None:
        """Have the group continue at these places, one for a lane; returns when the broker has it."""
        ...
