"""``penstock dead-letters replay``: send requests that were put aside again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.dead_letters.selection import PlaceType, Selection, choice_options
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.dead_letters.places import EntryId, Offset, Place
    from pipeline.dead_letters.reader import LetterReader
    from pipeline.dead_letters.replay import Replay


@click.command(
    "replay",
    cls=CommandWithExamples,
    examples=(
        "penstock dead-letters replay digits --error model_error --since 1d --dry-run",
        "penstock dead-letters replay digits --error model_error --rate 50 --yes",
        "penstock dead-letters replay digits --from-offset 0:17 --from-offset 1:4 --to digits.retries",
    ),
)
@choice_options
@click.option(
    "--to", default="", metavar="TOPIC", help="Send all to this topic or stream.  [default: where each came from]"
)
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), help="Requests a second at most.")
@click.option("--limit", type=click.IntRange(1), help="How many at most, from the oldest on.")
@click.option(
    "--from-offset",
    "starts",
    type=PlaceType(is_id=False),
    multiple=True,
    metavar="PARTITION:OFFSET",
    help="Begin there, as an earlier replay has printed it; may be repeated.",
)
@click.option(
    "--from-id", "start", type=PlaceType(is_id=True), metavar="ID", help="In Redis: begin there, as it was printed."
)
@click.option("--group", default="", help="Begin where this consumer group is, and move it along.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
def replay_letters(
    to: str,
    rate_per_s: float | None,
    limit: int | None,
    starts: tuple[Offset, ...],
    start: EntryId | None,
    group: str,
    is_dry: bool,
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Send dead letters of ROUTE again: key, value and headers as they were, without the reason.

    The dead letters stay where they are. What is put aside during the replay is not part of it. The header
    penstock-attempt says the how-manieth try it is.
    """
    selection = Selection(**filters)
    selection.refuse_others({"--from-offset": starts}, {"--from-id": start})
    from pipeline.dead_letters.replay import Replay, obstacle

    with selection.sender() as sender, selection.reader(starts, start, group) as reader:
        replay = Replay(sender, to=to, is_allowed=selection.is_allowed, rate_per_s=rate_per_s or 0.0)
        reasons = [obstacle(letter, to, selection.is_allowed) for letter in selection.letters(reader.read(), limit)]
        count = sum(not reason for reason in reasons)
        if not is_dry and count:
            target = to or "the topics that they came from"
            if not yes:
                click.confirm(f"Send {count} requests from {selection.topic} to {target}?", abort=True, err=True)
            _run(selection, reader, replay, limit, group)
    if as_json:
        _print_json(replay, count, len(reasons), is_dry=is_dry, is_redis=selection.is_redis)
    else:
        _print(replay, count if is_dry else replay.sent, reasons, is_dry=is_dry)


def _run(selection: Selection, reader: LetterReader, replay: Replay, limit: int | None, group: str) -> None:
    def on_chunk(places: Iterable[Place]) -> None:
        if group:
            reader.commit(places)

    try:
        with until_stopped() as stopped:
            replay.run(selection.letters(reader.read(), limit), stopped.wait, on_chunk)
    except ConnectorError as error:
        raise ConnectorError(error.what, f"{error.reason}; {_continued(replay)}") from error


def _print_json(replay: Replay, count: int, chosen: int, *, is_dry: bool, is_redis: bool) -> None:
    places = replay.next_places
    output.print_json(
        {
            "sent": replay.sent,
            "chosen": chosen,
            "would_send": count if is_dry else None,
            "skipped": [{**each.place.facts, "reason": each.reason} for each in replay.skipped],
            **(
                {"next_id": next((str(place) for place in places), None)}
                if is_redis
                else {"next_offsets": {str(place.lane): place.facts["offset"] for place in places}}
            ),
        }
    )


def _print(replay: Replay, count: int, reasons: list[str], *, is_dry: bool) -> None:
    click.echo(f"{'would send' if is_dry else 'sent'} {count} of {len(reasons)} dead letters")
    for reason in dict.fromkeys(filter(None, reasons)):
        click.echo(f"skipped {reasons.count(reason)}: {reason}")
    if not is_dry and replay.next_places:
        click.echo(_continued(replay))


def _continued(replay: Replay) -> str:
    if not replay.next_places:
        return "nothing was sent before it"
    starts = " ".join(f"{place.option} {place}" for place in replay.next_places)
    return f"{replay.sent} were sent; to go on behind them: {starts}"
