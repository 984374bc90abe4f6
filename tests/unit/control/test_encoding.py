"""Control records as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pipeline.control import encoding
from pipeline.errors import Undecodable
from pipeline.records import AspiredVersion, AspiredVersions, Error, ServableState, State, StreamState, WorkerState

LONG = st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
VERSIONS = st.lists(
    st.builds(AspiredVersion, LONG, TEXT, st.none() | TEXT), max_size=4, unique_by=lambda item: item.version
).map(tuple)
ASPIRED = st.builds(
    AspiredVersions,
    stream=st.text(min_size=1, max_size=20),
    versions=VERSIONS,
    kind=st.none() | TEXT,
    labels=st.dictionaries(TEXT, LONG, max_size=3),
    publisher=TEXT,
    published_at_ms=LONG,
)
STATES = st.builds(
    ServableState,
    worker=TEXT,
    stream=TEXT,
    version=LONG,
    state=st.sampled_from(State),
    error=st.none() | st.builds(Error, TEXT, TEXT, st.booleans()),
    generation=st.integers(-1, 2**63 - 1),
    kind=st.none() | TEXT,
    path=st.none() | TEXT,
    digest=st.none() | TEXT,
    load_ms=st.none() | LONG,
    at_ms=LONG,
)


@given(ASPIRED)
def test_an_aspiration_comes_back_as_it_went(aspired: AspiredVersions) -> None:
    assert encoding.decode_aspired(*encoding.encode_aspired(aspired)) == aspired


@given(STATES)
def test_a_state_comes_back_as_it_went(state: ServableState) -> None:
    key, value = encoding.encode_state(state)
    assert key == state.key.encode()
    assert encoding.decode_state(value) == state


STREAMS = st.lists(
    st.builds(
        StreamState,
        TEXT,
        LONG,
        st.booleans(),
        st.lists(LONG, max_size=3).map(tuple),
        st.dictionaries(TEXT, LONG, max_size=2),
    ),
    max_size=3,
).map(tuple)
WORKERS = st.builds(WorkerState, st.just("w"), LONG, LONG, LONG, STREAMS)


@given(st.lists(WORKERS, max_size=4))
def test_each_sign_of_life_comes_back_as_it_went(signs: list[WorkerState]) -> None:
    encoder = encoding.WorkerEncoder()
    for sign in (*signs, *signs):
        key, value = encoder.encode(sign)
        assert key == b"w"
        assert encoding.decode_state(value) == sign


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_undecodable(value: bytes) -> None:
    prefix = encoding.encode_aspired(AspiredVersions("s"))[1][:10]
    for attempt in (value, prefix + value):
        with pytest.raises(Undecodable):
            encoding.decode_aspired(b"\xff", attempt)


@pytest.mark.parametrize("key", [None, b"", b"other", b"\xff"])
def test_a_key_that_is_not_the_stream_is_refused(key: bytes | None) -> None:
    _, value = encoding.encode_aspired(AspiredVersions("digits"))
    with pytest.raises(Undecodable, match="key"):
        encoding.decode_aspired(key, value)


@pytest.mark.parametrize("numbers", [(-1,), (3, 3)])
def test_version_numbers_that_mislead_are_refused(numbers: tuple[int, ...]) -> None:
    key, value = encoding.encode_aspired(AspiredVersions("m", tuple(AspiredVersion(n, "/m") for n in numbers)))
    with pytest.raises(Undecodable, match="version"):
        encoding.decode_aspired(key, value)
