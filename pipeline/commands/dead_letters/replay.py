"""``penstock dead-letters replay``: send requests that were put aside again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.dead_letters.selection import Selection, choice_options
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from pipeline.dead_letters.reader import Bounds, LetterReader
    from pipeline.dead_letters.replay import Replay


class Start(click.ParamType):
    """``PARTITION:OFFSET``: where a partition begins."""

    name = "start"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """See click.ParamType."""
        found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", str(value))
        if found is None:
            self.fail(f"{value!r} is not PARTITION:OFFSET, such as 0:17", param, ctx)
        return int(found[1]), int(found[2])


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
@click.option("--to", default="", metavar="TOPIC", help="Send all to this topic.  [default: where each came from]")
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), help="Requests a second at most.")
@click.option("--limit", type=click.IntRange(1), help="How many at most, from the oldest on.")
@click.option(
    "--from-offset",
    "starts",
    type=Start(),
    multiple=True,
    metavar="PARTITION:OFFSET",
    help="Begin there, as an earlier replay has printed it; may be repeated.",
)
@click.option("--group", default="", help="Begin where this consumer group is, and move it along.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
def replay_letters(
    to: str,
    rate_per_s: float | None,
    limit: int | None,
    starts: tuple[tuple[int, int], ...],
    group: str,
    is_dry: bool,  # noqa: FBT001  # click passes options by name
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    **filters: Any,
) -> None:
    """Send dead letters of ROUTE again: key, value and headers as they were, without the reason.

    The dead letters stay where they are. What is put aside during the replay is not part of it. The header
    penstock-attempt says the how-manieth try it is.
    """
    selection = Selection(**filters)
    from pipeline.dead_letters.replay import Replay, obstacle  # noqa: PLC0415  # loads Kafka's client

    replay = Replay(selection.settings.kafka, to=to, is_allowed=selection.is_allowed, rate_per_s=rate_per_s or 0.0)
    with selection.reader(group) as reader:
        bounds = reader.bounds(dict(starts))
        reasons = [
            obstacle(letter, to, selection.is_allowed) for letter in selection.letters(reader.read(bounds), limit)
        ]
        count = sum(not reason for reason in reasons)
        if not is_dry and count:
            target = to or "the topics that they came from"
            if not yes:
                click.confirm(f"Send {count} requests from {selection.topic} to {target}?", abort=True, err=True)
            _run(selection, reader, bounds, replay, limit, group)
    _report(replay, count if is_dry else replay.sent, reasons, as_json=as_json, is_dry=is_dry)


def _run(
    selection: Selection, reader: LetterReader, bounds: Bounds, replay: Replay, limit: int | None, group: str
) -> None:
    def on_chunk(next_offsets: dict[int, int]) -> None:
        if group:
            for partition, offset in next_offsets.items():
                reader.commit(partition, offset)

    try:
        with until_stopped() as stopped:
            replay.run(selection.letters(reader.read(bounds), limit), stopped.wait, on_chunk)
    except ConnectorError as error:
        raise ConnectorError(error.what, f"{error.reason}; {_continued(replay)}") from error


def _report(replay: Replay, count: int, reasons: list[str], *, as_json: bool, is_dry: bool) -> None:
    if as_json:
        next_offsets = {str(partition): offset for partition, offset in replay.next_offsets.items()}
        report = {"sent": 0 if is_dry else count, "chosen": len(reasons), "would_send": count if is_dry else None}
        output.print_json({**report, "skipped": replay.skipped, "next_offsets": next_offsets})
        return
    click.echo(f"{'would send' if is_dry else 'sent'} {count} of {len(reasons)} dead letters")
    for reason in dict.fromkeys(filter(None, reasons)):
        click.echo(f"skipped {reasons.count(reason)}: {reason}")
    if not is_dry and replay.next_offsets:
        click.echo(_continued(replay))


def _continued(replay: Replay) -> str:
    if not replay.next_offsets:
        return "nothing was sent before it"
    starts = " ".join(f"--from-offset {each}:{offset}" for each, offset in sorted(replay.next_offsets.items()))
    return f"{replay.sent} were sent; to go on behind them: {starts}"
