"""Which dead letters a command is about: the route, the filters, and what they lead to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pipeline.commands import options
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.codecs.codec import Codec
    from pipeline.dead_letters.letters import Choice, DeadLetter
    from pipeline.dead_letters.reader import LetterReader

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


def choice_options(function: F) -> F:
    """Add ROUTE, the filters, ``--topic``, ``--config`` and ``--bootstrap``."""
    for add in reversed(
        (
            click.argument("route", required=False),
            click.option("--error", "codes", metavar="CODE", multiple=True, help="With this error; may be repeated."),
            click.option("--since", "since_ms", type=Moment(), metavar="TIME", help="Put aside then or later."),
            click.option("--until", "until_ms", type=Moment(), metavar="TIME", help="Put aside before."),
            click.option("--partition", type=click.IntRange(0), help="In this partition of the dead letters."),
            click.option("--offset", type=click.IntRange(0), help="At this offset there."),
            click.option("--servable", default="", help="For this servable; requests that name none are the route's."),
            click.option("--key", type=Key(), metavar="KEY", help="With this key: text, or hex: and digits."),
            click.option("--topic", help="The dead-letter topic, instead of the route's."),
            options.settings_options,
        )
    ):
        function = add(function)
    return function


class Selection:
    """The letters that one call of a command is about, and the topics that they may have come from."""

    def __init__(
        self, config: Path | None, bootstrap: str | None, route: str | None, topic: str | None, **filters: Any
    ) -> None:
        self.settings = options.load(config, bootstrap)
        self.topic, default_servable = self._place(route, topic)
        self.codecs = _codecs()
        self._default_servable = default_servable
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

    def reader(self, group: str = "") -> LetterReader:
        """Return a reader of the topic."""
        from pipeline.dead_letters.reader import LetterReader  # noqa: PLC0415  # loads Kafka's client

        return LetterReader(self.settings.kafka, self.topic, group=group)

    def is_allowed(self, topic: str) -> bool:
        """Return whether a route reads requests from a topic; any is allowed where the settings have no routes."""
        routes = self.settings.routes
        return not routes or any(route.reads(topic) for route in routes.values())

    def servable(self, letter: DeadLetter) -> str:
        """Return who was asked; empty where neither the request nor the settings say."""
        from pipeline.dead_letters.letters import servable_of  # noqa: PLC0415  # imports numpy

        return servable_of(letter, self.codecs) or self._default_servable

    def _is_meant(self, letter: DeadLetter) -> bool:
        choice, servable = self._choice
        return choice.takes(letter) and (not servable or self.servable(letter) == servable)

    def _place(self, route: str | None, topic: str | None) -> tuple[str, str]:
        routes = self.settings.routes
        if route is None and topic is None:
            if len(routes) != 1:
                known = ", ".join(routes) or "none"
                raise click.UsageError(f"name a route or --topic; routes of the settings: {known}")
            [route] = routes
        if route is None:
            return topic or "", ""
        if routes and route not in routes:
            raise InvalidSettings("ROUTE", f"{route!r} is not among the routes: {', '.join(routes)}")
        if route in routes:
            found = routes[route]
            if found.connector == "redis":
                step = f"look at them with: redis-cli XRANGE {topic or found.dead_letter_topic} - +"
                raise InvalidSettings(f"route {route}", f"its dead letters are in a stream of Redis; {step}")
            if topic is None and found.is_pattern and found.dead_letters_of("") != found.dead_letter_topic:
                raise click.UsageError(
                    f"route {route} has a dead-letter topic for each request topic: name one, --topic"
                )
            return topic or found.dead_letters_of(found.request_topic), found.servable
        return topic or f"{route}.requests-dlt", route


def _choice(filters: dict[str, Any]) -> tuple[Choice, str]:
    from pipeline.dead_letters.letters import Choice  # noqa: PLC0415  # imports numpy
    from pipeline.errors import kinds  # noqa: PLC0415

    codes = frozenset(filters.pop("codes"))
    unknown = codes - kinds().keys()
    if unknown:
        raise click.UsageError(f"--error {', '.join(sorted(unknown))}: no such code, see docs/protocol.md")
    servable = filters.pop("servable")
    return Choice(codes=codes, **filters), servable


def _codecs() -> list[Codec]:
    from pipeline import plugins  # noqa: PLC0415

    return [plugins.find(plugins.CODECS, name)() for name in plugins.names(plugins.CODECS)]
