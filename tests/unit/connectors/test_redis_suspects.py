"""Which entries are tried together after a worker has died with them."""

from __future__ import annotations

from connectors.redis.record import RedisRecord, record_of
from connectors.redis.suspects import Suspects


def record(number: int, size: int = 1) -> RedisRecord:
    return record_of("t", b"%d-0" % number, (), b"x" * size)


def suspects(*deaths: int) -> Suspects:
    found = Suspects()
    for number, count in enumerate(deaths):
        found.add(count, record(number))
    return found


def groups(found: Suspects, max_records: int = 100, max_bytes: int = 100) -> list[tuple[int, list[int]]]:
    taken = []
    while found:
        deaths, records = found.next(max_records, max_bytes)
        taken.append((deaths, [one.offset for one in records]))
    return taken


def test_after_a_first_death_there_are_as_many_groups_as_entries_in_each() -> None:
    assert groups(suspects(*[1] * 9)) == [(1, [0, 1, 2]), (1, [3, 4, 5]), (1, [6, 7, 8])]


def test_after_a_second_death_they_come_one_at_a_time_and_in_order() -> None:
    assert groups(suspects(1, 1, 2, 2, 1)) == [(1, [0, 1]), (2, [2]), (2, [3]), (1, [4])]


def test_a_group_keeps_to_the_limits_of_a_batch_and_a_large_one_comes_alone() -> None:
    found = Suspects()
    for number, size in enumerate((60, 60, 10, 10, 200, 1, 1, 1, 1)):
        found.add(1, record(number, size))
    assert [numbers for _, numbers in groups(found, 2)] == [[0], [1, 2], [3], [4], [5, 6], [7, 8]]


def test_only_an_entry_that_was_alone_at_a_death_is_named() -> None:
    kills = []
    for deaths in (1, 2, 3, 4):
        _, [one] = suspects(deaths).next(10, 10)
        kills.append(one.kills)
    assert kills == [0, 0, 3, 4]


def test_what_another_worker_has_by_now_is_not_tried() -> None:
    found = suspects(1, 1, 1)
    found.keep({b"1-0"})
    assert groups(found) == [(1, [1])]


def test_what_was_not_handed_out_after_all_comes_first_again() -> None:
    found = suspects(1, 1, 1, 1)
    found.put_back(*found.next(100, 100))
    assert groups(found) == [(1, [0, 1]), (1, [2, 3])]
