"""Which dead letters a command is about: the route, the filters, and what they lead to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from pipeline.commands import options
from pipeline.commands.brokers import check_route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipeline.codecs.codec import Codec
    from pipeline.dead_letters.letters import Choice, DeadLetter
    from pipeline.dead_letters.places import EntryId, Offset, Place
    from pipeline.dead_letters.reader import LetterReader
    from pipeline.dead_letters.sender import LetterSender
    from pipeline.records import PredictRequest
    from pipeline.settings import RouteSettings

F = TypeVar("F", bound=Callable[..., Any])

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Moment(click.ParamType):
    """A time as milliseconds since the Unix epoch: ISO 8601 (UTC, where it names no zone), or so long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click.ParamType."""
        ago = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        if ago:
            return int((time.time() - int(ago[1]) * _UNITS_S[ago[2]]) * 1000)
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a time (2026-01-31T12:00:00) nor an age (30m, 2h, 7d)", param, ctx)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


class Key(click.ParamType):
    """The bytes of a key: text, or ``hex:`` and digits, as the tables print it."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """See click.ParamType."""
        if isinstance(value, bytes):
            return value
        if not value.startswith("hex:"):
            return str(value).encode()
        try:
            return bytes.fromhex(value[4:])
        except ValueError:
            self.fail(f"{value!r} is not hexadecimal", param, ctx)


class PlaceType(click.ParamType):
    """``PARTITION:OFFSET`` of a topic of Kafka, or with ``is_id`` the id of an entry of a stream of Redis."""

    name = "place"

    def __init__(self, *, is_id: bool) -> None:
        self._is_id = is_id

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """See click.ParamType."""
        from pipeline.dead_letters.places import id_of, offset_of

        found = id_of(str(value)) if self._is_id else offset_of(str(value))
        if found is None:
            form = "the ID of an entry, such as 1769860804000-0" if self._is_id else "PARTITION:OFFSET, such as 0:17"
            self.fail(f"{value!r} is not {form}", param, ctx)
        return found


def choice_options(function: F) -> F:
    """Add ROUTE, the filters, ``--topic``, ``--config`` and ``--bootstrap``."""
    for add in reversed(
        (
            click.argument("route", required=False),
            click.option("--error", "codes", metavar="CODE", multiple=True, help="With this error; may be repeated."),
            click.option("--since", "since_ms", type=Moment(), metavar="TIME", help="Put aside then or later."),
            click.option("--until", "until_ms", type=Moment(), metavar="TIME", help="Put aside before."),
            click.option(
                "--partition", type=click.IntRange(0), help="In Kafka: in this partition of the dead letters."
            ),
            click.option("--offset", type=click.IntRange(0), help="At this offset there."),
            click.option(
                "--id", "entry_id", type=PlaceType(is_id=True), metavar="ID", help="In Redis: the entry with this id."
            ),
            click.option("--servable", default="", help="For this servable; requests that name none are the route's."),
            click.option("--key", type=Key(), metavar="KEY", help="With this key: text, or hex: and digits."),
            click.option("--topic", help="The dead-letter topic or stream, instead of the route's."),
            options.settings_options,
        )
    ):
        function = add(function)
    return function


class _At(NamedTuple):
    """Where letters are, and what their requests are that say nothing of it: for which servable, in which format."""

    topic: str
    connector: str
    servable: str = ""
    content_type: str = ""


class Selection:
    """The letters that one call of a command is about, and the topics that they may have come from."""

    def __init__(
        self, config: Path | None, bootstrap: str | None, route: str | None, topic: str | None, **filters: Any
    ) -> None:
        self.settings = options.load(config, bootstrap)
        self._at = self._place(route, topic)
        self.topic, self.is_redis = self._at.topic, self._at.connector == "redis"
        self._codecs = _codecs()
        self.refuse_others(
            {"--partition": filters["partition"], "--offset": filters["offset"]}, {"--id": filters["entry_id"]}
        )
        self._choice = _choice(filters)

    def letters(self, found: Iterable[DeadLetter], limit: int | None) -> Iterator[DeadLetter]:
        """Yield those of the letters that are meant, ``limit`` at most."""
        left = limit
        for letter in found:
            if left == 0:
                return
            if self._is_meant(letter):
                left = None if left is None else left - 1
                yield letter

    def refuse_others(self, of_kafka: Mapping[str, Any], of_redis: Mapping[str, Any]) -> None:
        """Raise UsageError for an option that was given and is the other broker's; both are by name."""
        wrong, right = (of_kafka, of_redis) if self.is_redis else (of_redis, of_kafka)
        for name, value in wrong.items():
            if value not in (None, ()):
                where = "Redis, where a letter is named by its id" if self.is_redis else "Kafka, where it has an offset"
                raise click.UsageError(
                    f"{name} is not for the letters in {self.topic}: they are in {where}; use {' and '.join(right)}"
                )

    def reader(self, starts: Sequence[Offset] = (), start: EntryId | None = None, group: str = "") -> LetterReader:
        """Return a reader of the letters; ``starts`` are where partitions begin, ``start`` where a stream does."""
        if self.is_redis:
            from pipeline.dead_letters.redis_reader import RedisLetterReader

            return RedisLetterReader(self.settings.redis, self.topic, start=start, group=group)
        from pipeline.dead_letters.kafka_reader import KafkaLetterReader

        return KafkaLetterReader(self.settings.kafka, self.topic, starts=starts, group=group)

    def sender(self) -> LetterSender:
        """Return a sender to the broker that has the letters."""
        if self.is_redis:
            from pipeline.dead_letters.redis_sender import RedisLetterSender

            lengths = {route.request_topic: route.redis.max_length for route in self._routes()}
            return RedisLetterSender(self.settings.redis, lengths)
        from pipeline.dead_letters.kafka_sender import KafkaLetterSender

        return KafkaLetterSender(self.settings.kafka)

    def is_allowed(self, topic: str) -> bool:
        """Return whether a route of this broker reads requests from a topic.

        Any is allowed where the settings have no routes.
        """
        return not self.settings.routes or any(route.reads(topic) for route in self._routes())

    def servable(self, letter: DeadLetter) -> str:
        """Return who was asked; empty where neither the request nor the settings say."""
        from pipeline.dead_letters.letters import servable_of

        return servable_of(letter, self._codecs, self._at.content_type) or self._at.servable

    def request(self, letter: DeadLetter) -> PredictRequest | None:
        """Return what was asked, or None where the bytes are no request."""
        from pipeline.dead_letters.letters import request_of

        return request_of(letter, self._codecs, self._at.content_type)

    def _is_meant(self, letter: DeadLetter) -> bool:
        choice, servable = self._choice
        return choice.takes(letter) and (not servable or self.servable(letter) == servable)

    def _routes(self) -> list[RouteSettings]:
        """Return the routes at the broker that has the letters."""
        return [each for each in self.settings.routes.values() if (each.connector == "redis") == self.is_redis]

    def _place(self, route: str | None, topic: str | None) -> _At:
        """Return where the letters are: a topic alone at the broker of its route, else where versions are."""
        from pipeline.settings.cluster_serving import FORMAT

        versions = self.settings.control.connector
        routes = self.settings.routes
        if route is None and topic is None:
            if len(routes) != 1:
                known = ", ".join(routes) or "none"
                raise click.UsageError(f"name a route or --topic; routes of the settings: {known}")
            [route] = routes
        if route is None:
            owners = [each.connector for each in routes.values() if each.dead_letter_topic == topic]
            return _At(topic or "", next(iter(owners), versions))
        check_route(self.settings, route)
        if route in routes:
            found = routes[route]
            if topic is None and found.is_pattern and found.dead_letters_of("") != found.dead_letter_topic:
                raise click.UsageError(
                    f"route {route} has a dead-letter topic for each request topic: name one, --topic"
                )
            name = topic or found.dead_letters_of(found.request_topic)
            return _At(name, found.connector, found.servable, FORMAT if found.format == FORMAT else "")
        return _At(topic or f"{route}.requests-dlt", versions, route)


def _choice(filters: dict[str, Any]) -> tuple[Choice, str]:
    from pipeline.dead_letters.letters import Choice
    from pipeline.errors import kinds

    codes = frozenset(filters.pop("codes"))
    unknown = codes - kinds().keys()
    if unknown:
        raise click.UsageError(f"--error {', '.join(sorted(unknown))}: no such code, see docs/protocol.md")
    servable = filters.pop("servable")
    return Choice(codes=codes, **filters), servable


def _codecs() -> list[Codec]:
    from pipeline.codecs.installed import load_codecs

    return list(load_codecs().values())
