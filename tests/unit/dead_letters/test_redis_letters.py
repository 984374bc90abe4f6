"""A dead letter in Redis is the fields as they came and the reason, and a replay sends those fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import pytest

from connectors.redis.dead_letters import DeadLetters
from connectors.redis.formats import entries_of
from pipeline.codecs.cluster_serving import ClusterServingCodec
from pipeline.dead_letters.letters import Choice, DeadLetter, request_of
from pipeline.dead_letters.places import EntryId, Offset, Place, id_of, offset_of
from pipeline.dead_letters.redis_entry import letter_of, request_fields
from pipeline.dead_letters.replay import Replay
from pipeline.errors import ConnectorError
from pipeline.records import Error
from pipeline.settings import RouteSettings
from pipeline.settings.routes import complete_route

PLACE = EntryId(1_700_000_000_500, 0)
ERROR = Error("model_error", "why", retriable=True)


def put_aside(fields: Sequence[bytes], **route: Any) -> DeadLetter:
    """Return the letter of a request as its route writes it."""
    settings = complete_route("m", RouteSettings(connector="redis", **route))
    record = entries_of(settings).record(b"1700000000000-3", fields)
    command = DeadLetters(settings, "w1").command(record, ERROR)
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return letter_of(PLACE, words[3:])


def test_a_letter_says_what_was_asked_why_it_was_put_aside_and_where_it_lay() -> None:
    letter = put_aside([b"key", b"k", b"a", b"1", b"value", b"v", b"a", b"2"])
    assert (letter.value, letter.key, letter.said.own) == (b"v", b"k", (("a", b"1"), ("a", b"2")))
    assert (letter.said.code, letter.said.message, letter.said.retriable) == ("model_error", "why", True)
    assert (letter.origin, letter.origin_facts) == ("m.requests@1700000000000-3", {"id": "1700000000000-3"})


@pytest.mark.parametrize(
    "fields",
    [
        [b"key", b"k", b"a", b"1", b"value", b"v", b"a", b"2"],
        [b"value", b"v", b"value", b"w"],
        [b"\xff", b"x", b"value", b"\x00"],
        [b"penstock-error-code", b"mine", b"value", b"v"],
        [b"no", b"value"],
    ],
)
def test_a_replay_has_the_fields_as_they_came_whatever_they_are(fields: list[bytes]) -> None:
    letter = put_aside(fields)
    assert letter.value is not None
    assert request_fields(letter) == (*fields, b"penstock-attempt", b"2")


def test_the_attempt_counts_on() -> None:
    first = request_fields(put_aside([b"value", b"v"]))
    assert request_fields(put_aside(first)) == (b"value", b"v", b"penstock-attempt", b"3")


def test_a_request_of_cluster_serving_is_decoded_and_sent_as_it_came() -> None:
    fields = [b"uri", b"u", b"data", b'{"instances": [{"x": [1.5]}]}', b"serde", b"stream"]
    letter = put_aside(fields, format="cluster-serving")
    asked = request_of(letter, [ClusterServingCodec()], "cluster-serving")
    assert asked is not None
    assert (asked.id, letter.key, asked.inputs[0].shape) == ("u", b"u", (1,))
    assert request_fields(letter) == (*fields, b"penstock-attempt", b"2")


def test_an_entry_of_somebody_else_is_a_letter_without_a_reason_and_an_empty_one_is_no_request() -> None:
    letter = letter_of(PLACE, [b"value", b"v", b"mine", b"1"])
    assert (letter.value, letter.said.code, letter.origin) == (b"v", "", "unknown")
    assert letter_of(PLACE, [b"penstock-error-code", b"model_error"]).value is None


def test_places_are_read_as_they_are_written_and_follow_each_other() -> None:
    for place in (EntryId(0, 1), EntryId(5, 0), EntryId(2**64 - 1, 2**64 - 1)):
        assert id_of(str(place)) == place
        assert place.previous < place < place.next
    assert EntryId(5, 0).previous.next > EntryId(4, 2**64 - 1)
    assert EntryId(9, 0) < EntryId(10, 0)
    assert offset_of("0:17") == Offset(0, 17)
    for text in ("0:17", "17", "-1", "1-", f"{2**64}-0", "1-0 "):
        assert id_of(text) is None
    for text in ("5-0", "7", ":7"):
        assert offset_of(text) is None


def test_an_entry_is_chosen_by_its_id() -> None:
    letter = put_aside([b"value", b"v"])
    assert Choice(entry_id=PLACE).takes(letter)
    assert not Choice(entry_id=PLACE.next).takes(letter)


class BrokenSender:
    """Takes two letters, and no more."""

    def __init__(self) -> None:
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, letter: DeadLetter, topic: str) -> None:
        if self.sent == 2:
            raise ConnectorError(f"topic {topic}", f"is full at {letter.place}")
        self.sent += 1

    def accept(self) -> None:
        pass


def test_a_replay_that_is_refused_goes_on_at_the_letter_that_was() -> None:
    def letters() -> Iterator[DeadLetter]:
        for n in range(4):
            yield letter_of(EntryId(n, 0), [b"value", b"v"])

    moved: list[list[Place]] = []

    def on_chunk(places: Iterable[Place]) -> None:
        moved.append(list(places))

    replay = Replay(BrokenSender(), to="q", is_allowed=lambda _: True)
    with pytest.raises(ConnectorError, match="full at 2-0"):
        replay.run(letters(), lambda _: False, on_chunk)
    assert (replay.sent, replay.next_places, moved) == (2, [EntryId(1, 1)], [[EntryId(1, 1)]])
