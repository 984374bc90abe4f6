"""What an answer says that has no predictions: its status, a code, and why. Pure."""

from __future__ import annotations

from typing import Final

from pipeline.errors import (
    BadRequest,
    ConnectorError,
    DeadlineExceeded,
    NotRepresentable,
    PenstockError,
    PoisonRecord,
    PredictTimedOut,
    RecordTooLarge,
    ResultTooLarge,
    TimedOut,
    kinds,
)

# The first that fits: a kind of error, and what is to be done about it in HTTP's words.
_STATUSES: Final[tuple[tuple[tuple[type[PenstockError], ...], int], ...]] = (
    ((RecordTooLarge,), 413),
    ((DeadlineExceeded, PredictTimedOut, TimedOut), 504),
    ((NotRepresentable, PoisonRecord, ResultTooLarge), 500),
    ((BadRequest,), 400),
    ((ConnectorError,), 503),
)


class Refusal(Exception):
    """Raised where a request is answered with an error."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(status, code, reason)
        self.status, self.code, self.reason = status, code, reason


def status_of(code: str) -> int:
    """Return the status for the code of an error: 4xx where the request is at fault, 503 where a later one may do."""
    kind = kinds().get(code, PenstockError)
    found = next((status for these, status in _STATUSES if issubclass(kind, these)), None)
    return found or (503 if kind.retriable else 500)
