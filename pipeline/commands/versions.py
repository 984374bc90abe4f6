"""``penstock versions``: what every worker serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pipeline.records import ServableState
    from pipeline.settings import Settings

_REFRESH_S = 0.5
_COLUMNS = ("stream", "version", "worker", "state", "for", "load", "reason")


class ShowByDefault(click.Group):
    """A group whose first command is meant where none is named: ``versions digits`` is ``versions show digits``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["show", *args])


@click.group(cls=ShowByDefault, short_help="Show what every worker serves, and what not, and why.")
def versions() -> None:
    """Show which versions every worker serves, and why one is not served."""


@versions.command(cls=CommandWithExamples, examples=("penstock versions digits --watch",))
@click.argument("stream", required=False)
@options.settings_options
@click.option("--all", "with_ended", is_flag=True, help="Also versions that ended as wished.")
@click.option("--watch", "is_live", is_flag=True, help="Keep the table up to date until Ctrl-C.")
@options.json_option
def show(
    stream: str | None,
    config: Path | None,
    bootstrap: str | None,
    with_ended: bool,  # noqa: FBT001  # click passes options by name
    is_live: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show the versions of STREAM, or of all streams: on which worker, in which state, since when, and why.

    A version that could not be loaded is END with its reason. A worker that was killed could not say so: its rows stay
    as it left them.
    """
    if is_live and as_json:
        raise click.UsageError("--watch shows a table; leave out --json")
    settings = options.load(config, bootstrap)
    if is_live:
        _show_live(settings, stream, with_ended)
        return
    from pipeline.control.states import read_states  # noqa: PLC0415  # loads Kafka's client

    states = _chosen(read_states(settings.kafka, settings.control.states_topic), stream, with_ended)
    if as_json:
        output.print_json(states)
    elif states:
        output.print_table(_COLUMNS, _rows(states, time.time() * 1000))
    else:
        click.echo(f"no worker has reported a version{f' of {stream}' if stream else ''}", err=True)


def _show_live(settings: Settings, stream: str | None, with_ended: bool) -> None:  # noqa: FBT001  # passed through
    from rich.live import Live  # noqa: PLC0415

    from pipeline.control.states import StatesFollower  # noqa: PLC0415

    failures: list[Exception] = []
    follower = StatesFollower(settings.kafka, settings.control.states_topic, "penstock-versions", failures.append)
    follower.start()
    try:
        with until_stopped() as stopped, Live(auto_refresh=False) as live:
            while not stopped.wait(_REFRESH_S) and not failures:
                rows = _rows(_chosen(follower.states(), stream, with_ended), time.time() * 1000)
                live.update(follower.problem or output.table(_COLUMNS, rows), refresh=True)
    finally:
        follower.stop()
    if failures:
        raise failures[0] if isinstance(failures[0], ConnectorError) else click.ClickException(str(failures[0]))


def _chosen(states: Sequence[ServableState], stream: str | None, with_ended: bool) -> list[ServableState]:  # noqa: FBT001
    return [
        state
        for state in states
        if stream in (None, state.stream) and (with_ended or state.state != "END" or state.error is not None)
    ]


def _rows(states: Sequence[ServableState], now_ms: float) -> list[Sequence[str]]:
    return [
        (
            state.stream,
            str(state.version),
            state.worker,
            str(state.state),
            _duration(now_ms - state.at_ms),
            "" if state.load_ms is None else f"{state.load_ms} ms",
            "" if state.error is None else f"{state.error.code}: {state.error.message}",
        )
        for state in states
    ]


def _duration(ms: float) -> str:
    seconds = max(0, int(ms / 1000))
    units: Mapping[str, int] = {"d": 86_400, "h": 3600, "min": 60}
    for unit, length in units.items():
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
