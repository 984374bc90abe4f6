"""The part ``dead_letters`` of a route: which requests are kept aside, and how the reason is written on them."""

from __future__ import annotations

from typing import Final

from pipeline.errors import InvalidSettings, kinds
from pipeline.settings.section import Section

ALL: Final = "all"
HEADER_SETS: Final = ("spring", "connect", "both")


class DeadLetterSettings(Section, frozen=True):
    """``errors`` are codes, or ``all`` alone. ``headers`` is the set that stands beside ours: whose tools read it."""

    errors: tuple[str, ...] = ("undecodable", "schema_unavailable", "record_too_large", "poison_record")
    headers: str = "spring"

    def takes(self, code: str) -> bool:
        """Return whether a request that is answered with this error code is kept."""
        return code in self.errors or ALL in self.errors


def check_dead_letters(dead_letters: DeadLetterSettings, place: str) -> None:
    """Raise InvalidSettings for codes and header sets that do not exist."""
    if dead_letters.headers not in HEADER_SETS:
        reason = f"{dead_letters.headers!r} is not {', '.join(HEADER_SETS[:-1])} or {HEADER_SETS[-1]}"
        raise InvalidSettings(f"{place}.headers", reason)
    known = kinds()
    for code in dead_letters.errors:
        if code != ALL and code not in known:
            raise InvalidSettings(f"{place}.errors", f"{code!r} is no error code, see docs/protocol.md; or write all")
