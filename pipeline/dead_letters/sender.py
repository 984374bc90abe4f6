"""LetterSender: how requests get back to where they came from, whichever broker they go to. The contract."""

from __future__ import annotations

from typing import Protocol, Self

from pipeline.dead_letters.letters import DeadLetter


class LetterSender(Protocol):
    """Sends requests of dead letters. Blocks; for one thread. Use it in a ``with`` block."""

    sent: int
    """How many requests the broker has accepted."""

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of the connection."""
        ...

    def send(self, letter: DeadLetter, topic: str) -> None:
        """Send the request of a letter that has one, as it was, with the how-manieth try it is.

        The broker may accept it later. Raises ConnectorError where this one can not be sent; earlier ones still are.
        """
        ...

    def accept(self) -> None:
        """Return when the broker has accepted all that was sent; raises ConnectorError where it has not."""
        ...
