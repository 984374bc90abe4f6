"""``penstock versions show``: what every worker serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.clock import SystemClock
from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.commands.versions import details, rendering
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.control.fleet import Fleet
    from pipeline.records import ServableState
    from pipeline.settings import Settings

_REFRESH_S = 0.5


@click.command(
    cls=CommandWithExamples, examples=("penstock versions digits --watch", "penstock versions show digits/3")
)
@click.argument("what", metavar="[STREAM | STREAM/VERSION]", required=False)
@options.settings_options
@click.option("--all", "with_ended", is_flag=True, help="Also versions that ended as wished.")
@click.option("--watch", "is_live", is_flag=True, help="Keep the table up to date until Ctrl-C.")
@options.json_option
def show(
    what: str | None,
    config: Path | None,
    bootstrap: str | None,
    with_ended: bool,
    is_live: bool,
    as_json: bool,
) -> None:
    """Show the versions of STREAM, or of all streams: on which worker, in which state, since when, and why.

    Of STREAM/VERSION it shows what the version is: its signatures, framework, threads, memory, and each worker's part.

    A version that could not be loaded is END with its reason. A worker that has not been heard from for three of its
    intervals is shown as gone.
    """
    if is_live and as_json:
        raise click.UsageError("--watch shows a table; leave out --json")
    stream, version = details.split(what) if what else (None, None)
    if is_live and version is not None:
        raise click.UsageError("--watch follows streams; name no version")
    settings = options.load(config, bootstrap)
    if is_live:
        _show_live(settings, stream, with_ended)
        return
    from pipeline.control.fleet import read_fleet
    from pipeline.control.logs import logs_of

    fleet = read_fleet(logs_of(settings), settings.control.states_topic)
    states = rendering.chosen(fleet, stream, version, with_ended=with_ended)
    if as_json:
        output.print_json(states)
    elif states and version is not None:
        _show_one(fleet, states)
    elif states:
        output.print_table(*rendering.versions_table(fleet, states, SystemClock().unix_ms()))
        for note in rendering.notes(fleet, stream):
            click.echo(note)
    else:
        click.echo(f"no worker has reported a version{f' of {what}' if what else ''}", err=True)
    if what and not states:
        click.get_current_context().exit(1)


def _show_one(fleet: Fleet, states: Sequence[ServableState]) -> None:
    for place, group in enumerate(details.same(states)):
        if place:
            click.echo()
        for name, text in details.facts(group[0]):
            click.echo(f"{name:<10} {text}")
        if group[0].description is not None:
            click.echo()
            output.print_table(*details.tensors_table(group[0].description))
        click.echo()
        output.print_table(*details.workers_table(fleet, group, SystemClock().unix_ms()))


def _show_live(settings: Settings, stream: str | None, with_ended: bool) -> None:
    from rich.live import Live

    from pipeline.control.fleet import FleetFollower
    from pipeline.control.logs import logs_of

    failures: list[Exception] = []
    follower = FleetFollower(logs_of(settings), settings.control.states_topic, "penstock-versions", failures.append)
    follower.start()
    try:
        with until_stopped() as stopped, Live(auto_refresh=False) as live:
            while not stopped.wait(_REFRESH_S) and not failures:
                live.update(follower.problem or _view(follower.fleet(), stream, with_ended), refresh=True)
    finally:
        follower.stop()
    if failures:
        raise failures[0] if isinstance(failures[0], ConnectorError) else click.ClickException(str(failures[0]))


def _view(fleet: Fleet, stream: str | None, with_ended: bool) -> Any:
    from rich.console import Group

    states = rendering.chosen(fleet, stream, with_ended=with_ended)
    table = output.table(*rendering.versions_table(fleet, states, SystemClock().unix_ms()))
    return Group(table, *rendering.notes(fleet, stream))
