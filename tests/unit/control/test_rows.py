"""What a worker writes to the states topic, and which rows are left there."""

from __future__ import annotations

from hypothesis import given, strategies as st
from msgspec.structs import replace

from pipeline.control.rows import KEEP_ENDED, KEEP_FAILED, Change, Rows, is_failure, superfluous, was_available
from pipeline.records import Error, ServableState, State

FAILED = Error("load_failed", "broken", retriable=False)
CANCELLED = Error("load_cancelled", "no longer aspired", retriable=False)
LIFE = (State.START, State.LOADING, State.AVAILABLE, State.UNLOADING, State.END)


def state(version: int, of: State, incarnation: int = 1, at_ms: int = 1, error: Error | None = None) -> ServableState:
    load_ms = 5 if of in (State.AVAILABLE, State.UNLOADING) or (of is State.END and error is None) else None
    return ServableState("w", "m", version, of, error, incarnation=incarnation, load_ms=load_ms, at_ms=at_ms)


class Topic:
    """The compacted topic as a reader sees it."""

    def __init__(self) -> None:
        self.rows: dict[str, ServableState] = {}
        self.written: list[Change] = []

    def write(self, changes: list[Change]) -> None:
        for key, row in changes:
            self.written.append((key, row))
            if row is None:
                del self.rows[key]
            else:
                self.rows[key] = row

    def seen(self) -> list[tuple[int, int, str]]:
        return sorted((row.version, row.incarnation, str(row.state)) for row in self.rows.values())


def test_a_life_has_one_row_and_the_next_one_takes_its_place() -> None:
    topic, rows = Topic(), Rows("w")
    for of in LIFE:
        topic.write(rows.take(state(1, of)))
    assert topic.seen() == [(1, 1, "END")]
    topic.write(rows.take(state(1, State.START)))
    assert topic.seen() == [(1, 2, "START")]


def test_a_reload_has_two_rows_until_the_old_life_has_ended() -> None:
    topic, rows = Topic(), Rows("w")
    topic.write(rows.take(state(1, State.AVAILABLE)))
    topic.write(rows.take(state(1, State.LOADING, incarnation=2)))
    assert topic.seen() == [(1, 1, "AVAILABLE"), (1, 2, "LOADING")]
    topic.write(rows.take(state(1, State.AVAILABLE, incarnation=2)))
    topic.write(rows.take(state(1, State.END)))
    assert topic.seen() == [(1, 2, "AVAILABLE")]
    assert [row.state for key, row in topic.written if key == "w/m/1/1" and row is not None][-1] is State.END


def test_a_failed_reload_leaves_both_rows() -> None:
    topic, rows = Topic(), Rows("w")
    topic.write(rows.take(state(1, State.AVAILABLE)))
    topic.write(rows.take(state(1, State.END, incarnation=2, error=FAILED)))
    assert topic.seen() == [(1, 1, "AVAILABLE"), (1, 2, "END")]


def test_what_an_earlier_life_left_is_ended_with_the_reason_and_numbered_on() -> None:
    topic, rows = Topic(), Rows("w")
    left = [state(1, State.AVAILABLE, incarnation=3), state(2, State.LOADING), state(3, State.END)]
    others = replace(state(9, State.AVAILABLE), worker="other")
    topic.rows = {row.key: row for row in (*left, others)}
    topic.write(rows.recover([*left, others], now_ms=7))
    ended = {row.version: row for row in topic.rows.values() if row.worker == "w"}
    assert {row.state for row in ended.values()} == {State.END}
    assert [ended[v].error and ended[v].error.code for v in (1, 2, 3)] == ["worker_lost", "worker_lost", None]
    assert "it was AVAILABLE" in str(ended[1].error)
    assert ended[1].at_ms == 7
    assert topic.rows[others.key] == others
    topic.write(rows.take(state(1, State.START)))
    assert (1, 4, "START") in topic.seen()
    assert (1, 3, "END") not in topic.seen()


def test_what_ended_is_kept_for_a_while_and_not_for_ever() -> None:
    topic, rows = Topic(), Rows("w")
    for version in range(50):
        for of in LIFE:
            topic.write(rows.take(state(version, of, at_ms=version)))
    assert [version for version, _, _ in topic.seen()] == list(range(50 - KEEP_ENDED, 50))
    for version in range(100, 300):
        topic.write(rows.take(state(version, State.END, at_ms=version, error=FAILED)))
    failed = [row for row in topic.rows.values() if is_failure(row)]
    assert len(failed) == KEEP_FAILED
    assert len(topic.rows) == KEEP_FAILED + KEEP_ENDED


def test_only_a_version_at_fault_counts_as_failed() -> None:
    assert is_failure(state(1, State.END, error=FAILED))
    assert not is_failure(state(1, State.END, error=CANCELLED))
    assert not is_failure(state(1, State.END))
    assert was_available(state(1, State.END))
    assert not was_available(state(1, State.END, error=CANCELLED))
    assert not was_available(state(1, State.LOADING))


STATES = st.lists(
    st.builds(
        state,
        st.integers(1, 20),
        st.sampled_from(LIFE),
        st.integers(1, 3),
        st.integers(0, 50),
        st.none() | st.just(FAILED),
    ),
    unique_by=lambda row: (row.version, row.incarnation),
)


@given(STATES)
def test_nothing_that_lives_and_no_newest_row_of_a_few_is_superfluous(rows: list[ServableState]) -> None:
    dropped = superfluous(rows)
    assert all(row.state is State.END for row in dropped)
    kept = [row for row in rows if row not in dropped]
    assert superfluous(kept) == []
    newest = {row.version: row for row in sorted(rows, key=lambda row: row.incarnation)}
    lost = [row for row in newest.values() if row in dropped]
    assert len(lost) <= max(0, len(newest) - KEEP_ENDED)


LIVES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(("load", "fail", "kill"))), max_size=20)


@given(LIVES)
def test_no_life_of_a_worker_sees_a_row_go_backwards(lives: list[tuple[int, str]]) -> None:
    topic, rows = Topic(), Rows("w")
    loaded: set[int] = set()
    for version, what in lives:
        if what == "kill":
            rows, loaded = Rows("w"), set()
            topic.write(rows.recover(list(topic.rows.values()), 1))
        elif version not in loaded:
            topic.write(rows.take(state(version, State.START)))
            last = State.AVAILABLE if what == "load" else State.END
            topic.write(rows.take(state(version, last, error=None if what == "load" else FAILED)))
            loaded |= {version} if what == "load" else set()
    order = {of: place for place, of in enumerate(LIFE)}
    for key in {key for key, _ in topic.written}:
        places = [order[row.state] for written, row in topic.written if written == key and row is not None]
        assert places == sorted(places)
    alive = {version for version, _, of in topic.seen() if of == "AVAILABLE"}
    assert alive == loaded
