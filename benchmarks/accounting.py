"""Every request has exactly one right answer, or the case has failed: pure functions over ids."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

# Each of these must be 0.
FAULTS = ("lost", "duplicated", "unknown", "errors", "wrong", "uncommitted")


class Account(TypedDict):
    """Requests against results.

    ``lost``: requests without a result; ``duplicated``: results beyond the first; ``unknown``: ids nobody asked;
    ``errors``: results that say so; ``wrong``: outputs that differ from numpy's; ``uncommitted``: requests that the
    contender, after a clean stop, would be given again.
    """

    requests: int
    answered: int
    lost: int
    duplicated: int
    unknown: int
    errors: int
    wrong: int
    uncommitted: int


def account(requested: Iterable[str], answered: Iterable[str], errors: int = 0, wrong: int = 0) -> Account:
    """Return the account by id; an id that was requested twice is a mistake of the harness and raises ValueError."""
    wanted = Counter(requested)
    if any(count > 1 for count in wanted.values()):
        raise ValueError("two requests have the same id")
    got = Counter(answered)
    return Account(
        requests=len(wanted),
        answered=len(wanted.keys() & got.keys()),
        lost=len(wanted.keys() - got.keys()),
        duplicated=sum(count - 1 for count in got.values()),
        unknown=len(got.keys() - wanted.keys()),
        errors=errors,
        wrong=wrong,
        uncommitted=0,
    )


def total(accounts: Iterable[Account]) -> Account:
    """Return the sum over several rounds."""
    together = account((), ())
    for one in accounts:
        for field in one:
            together[field] += one[field]  # type: ignore[literal-required]  # the fields of one are those of the other
    return together


def faults(account: Account) -> list[str]:
    """Return what is wrong, for people; empty where every request has exactly one right answer."""
    return [f"{account[name]} {name}" for name in FAULTS if account[name]]  # type: ignore[literal-required]  # as above
