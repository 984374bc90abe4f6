"""``penstock versions workers``: which workers are alive, and how far they have followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.clock import SystemClock
from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions import rendering

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=CommandWithExamples, examples=("penstock versions workers",))
@click.argument("stream", required=False)
@options.settings_options
@options.json_option
def workers(stream: str | None, config: Path | None, bootstrap: str | None, as_json: bool) -> None:
    """Show every worker that serves STREAM, or any: when it was last heard from, and how far it has followed."""
    settings = options.load(config, bootstrap)
    from pipeline.control.fleet import read_fleet
    from pipeline.control.logs import logs_of

    fleet = read_fleet(logs_of(settings), settings.control.states_topic)
    found = [
        worker for worker in fleet.workers if stream is None or stream in {state.stream for state in worker.streams}
    ]
    if as_json:
        output.print_json(found)
    elif found:
        output.print_table(*rendering.workers_table(found, stream, SystemClock().unix_ms()))
        for note in rendering.notes(fleet, stream):
            click.echo(note)
    else:
        click.echo(f"no worker{f' that serves {stream}' if stream else ''} has been heard from", err=True)
    if stream and not found:
        click.get_current_context().exit(1)
