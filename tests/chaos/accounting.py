"""Requests against answers, by id: what was lost, doubled, out of order, or of the wrong kind. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.requests import Asked, Kind

_SHOWN = 5


class Guarantee(StrEnum):
    """What a route promises, as its setting spells it."""

    AT_LEAST_ONCE = "at_least_once"
    EXACTLY_ONCE = "exactly_once"


@dataclass(frozen=True)
class Answered:
    """One record of the result topic, as far as it counts here.

    ``kind`` is the error's code, which need not be one that a request of ours may have; ``version`` and ``row`` are
    those of a result. ``partition`` is where it stands, ``asked_on`` where its request stood.
    """

    id: str
    kind: str
    partition: int
    asked_on: int
    version: int | None = None
    row: float | None = None


@dataclass(frozen=True)
class Account:
    """Ids of requests, with what is wrong about each; ``requests``, ``answers`` and ``letters`` are counts of all.

    ``doubled``: answers beyond the first, by id. ``unordered``: requests whose first answer came before that of an
    earlier one of their key. ``strange``: answers of an id nobody asked. ``wrong``: another kind of answer than the
    request must have, in any of its answers, another row, or another partition than the request's. The same of dead
    letters, where ``letters_changed`` are those whose bytes are not the request's. ``uncommitted``: requests that a
    new worker would be given again. ``kinds``: how many requests of each kind were answered.
    """

    requests: int
    answers: int
    letters: int
    lost: Sequence[str]
    doubled: Mapping[str, int]
    unordered: Sequence[str]
    strange: Sequence[str]
    wrong: Sequence[str]
    letters_lost: Sequence[str]
    letters_doubled: Mapping[str, int]
    letters_changed: Sequence[str]
    uncommitted: int
    kinds: Mapping[str, int]

    @property
    def duplicates(self) -> int:
        """Return how many answers were one too many."""
        return sum(self.doubled.values())


def account(
    asked: Iterable[Asked], answered: Sequence[Answered], letters: Sequence[tuple[str, bytes]], uncommitted: int = 0
) -> Account:
    """Hold answers and dead letters, each in the order of its partition's log, against what was asked."""
    wanted = {one.id: one for one in asked}
    got = Counter(answer.id for answer in answered)
    dead = {one.id: one for one in wanted.values() if one.kind is Kind.UNDECODABLE}
    buried = Counter(id_ for id_, _ in letters)
    return Account(
        requests=len(wanted),
        answers=len(answered),
        letters=len(letters),
        lost=sorted(wanted.keys() - got.keys()),
        doubled={id_: count - 1 for id_, count in got.items() if count > 1},
        unordered=_unordered(wanted, answered),
        strange=sorted(got.keys() - wanted.keys()),
        wrong=sorted(
            {answer.id for answer in answered if answer.id in wanted and _is_wrong(wanted[answer.id], answer)}
        ),
        letters_lost=sorted(dead.keys() - buried.keys()),
        letters_doubled={id_: count - 1 for id_, count in buried.items() if count > 1},
        letters_changed=sorted({id_ for id_, value in letters if id_ not in dead or dead[id_].value != value}),
        uncommitted=uncommitted,
        kinds=Counter(str(wanted[id_].kind) for id_ in got if id_ in wanted),
    )


def faults(account: Account, guarantee: Guarantee, most_duplicates: int) -> list[str]:
    """Return what the guarantee does not allow, for people; empty where it was kept."""
    never: dict[str, Sequence[str]] = {
        "lost": account.lost,
        "unordered": account.unordered,
        "strange": account.strange,
        "wrong": account.wrong,
        "dead letters lost": account.letters_lost,
        "dead letters changed": account.letters_changed,
    }
    if guarantee is Guarantee.EXACTLY_ONCE:
        never |= {"doubled": sorted(account.doubled), "dead letters doubled": sorted(account.letters_doubled)}
    found = [f"{len(ids)} {what}: {', '.join(ids[:_SHOWN])}" for what, ids in never.items() if ids]
    if account.duplicates > most_duplicates:
        found.append(f"{account.duplicates} duplicates, where {most_duplicates} are explained")
    if account.uncommitted:
        found.append(f"{account.uncommitted} requests would come again after a clean stop")
    return found


def _unordered(wanted: Mapping[str, Asked], answered: Sequence[Answered]) -> list[str]:
    """Return what overtook: of each key, first answers must come in the order of the requests, without a gap."""
    seen: set[str] = set()
    next_of: defaultdict[str, int] = defaultdict(int)
    found = []
    for answer in answered:
        one = wanted.get(answer.id)
        if one is None or answer.id in seen:
            continue
        seen.add(answer.id)
        if one.sequence != next_of[one.key]:
            found.append(one.id)
        next_of[one.key] = max(next_of[one.key], one.sequence + 1)
    return found


def _is_wrong(one: Asked, answer: Answered) -> bool:
    if answer.kind != one.kind or answer.partition != answer.asked_on:
        return True
    if one.kind is not Kind.RESULT:
        return False
    return answer.version is None or answer.row is None or not one.is_answered_by(answer.version, answer.row)
