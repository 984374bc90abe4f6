"""What the commands that change a stream share: options, and the way from an edit to a fleet that has followed."""

from __future__ import annotations

import functools
import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pipeline.commands import options, output
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from pipeline.control.change import Change, Report
    from pipeline.control.edits import Edit
    from pipeline.control.known_versions import KnownVersions
    from pipeline.control.progress import Progress
    from pipeline.records import AspiredVersions

F = TypeVar("F", bound=Callable[..., Any])

VERSION: Final = click.IntRange(min=0)
"""The type of an argument that is a version's number."""


@dataclass(frozen=True)
class Wish:
    """The options of a command that changes a stream."""

    config: Path | None
    bootstrap: str | None
    timeout_s: float
    is_waiting: bool
    is_halting: bool
    as_json: bool


def change_options(function: F) -> F:
    """Add the options of such a command, which gets them as the argument ``wish``."""

    @functools.wraps(function)
    def gathered(*args: Any, **given: Any) -> Any:
        names = tuple(Wish.__dataclass_fields__)
        wish = Wish(**{name: given.pop(name) for name in names})
        return function(*args, wish=wish, **given)

    timeout = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds to wait for the workers.",
    )
    no_wait = click.option(
        "--no-wait", "is_waiting", flag_value=False, default=True, help="Publish, and wait for no one."
    )
    halt = click.option(
        "--halt-on-failure", "is_halting", is_flag=True, help="When a worker fails, publish again what stood before."
    )
    made: F = options.settings_options(timeout(no_wait(halt(options.json_option(gathered)))))  # type: ignore[assignment]  # click's own do not follow the arguments
    return made


def carry_out(stream: str, wish: Wish, edit_of: Callable[[AspiredVersions, KnownVersions], Edit]) -> None:
    """Publish the edit that ``edit_of`` makes of what stands and is known, wait for the fleet, and say how it went.

    Raises ConnectorError, InvalidSettings where there is nothing to change, and ends the command with 1 where the fleet
    did not follow.
    """
    from pipeline.clock import SystemClock
    from pipeline.control.change import Change
    from pipeline.control.known_versions import KnownVersions
    from pipeline.records import AspiredVersions

    settings = options.load(wish.config, wish.bootstrap)
    configured = settings.servables.get(stream)
    with Change(settings, stream, _name(), SystemClock()) as change:
        before = change.standing
        standing = before or AspiredVersions(stream, kind=configured.kind if configured else None)
        known = KnownVersions(standing, change.fleet.states, configured.base_path if configured else None)
        edit = edit_of(standing, known)
        generation = change.publish(edit)
        if not wish.as_json:
            _announce(edit, generation)
        if wish.is_waiting:
            _wait(change, edit, generation, before, wish)
        elif wish.as_json:
            output.print_json({"record": edit.record, "generation": generation, "outcome": "published", "workers": []})


def require_standing(standing: AspiredVersions) -> None:
    """Raise InvalidSettings where nothing was ever aspired, and so there is nothing to change."""
    if not standing.versions and not standing.labels and not standing.pinned:
        raise InvalidSettings(
            f"stream {standing.stream}", "no version is aspired; is that its name? See: penstock versions workers"
        )


def _wait(change: Change, edit: Edit, generation: int, before: AspiredVersions | None, wish: Wish) -> None:
    import msgspec

    from pipeline.commands.versions.progress_view import progress_view
    from pipeline.control.change import Outcome
    from pipeline.control.progress import Stage

    def is_over(seen: Progress) -> bool:
        return seen.is_over or (wish.is_halting and bool(seen.of(Stage.FAILED)))

    with progress_view(is_quiet=wish.as_json) as show:
        report = change.wait(edit, generation, wish.timeout_s, is_over=is_over, on_progress=show)
    if report.outcome is Outcome.FAILED and wish.is_halting:
        restored = change.take_back(before, report.generation)
        if restored is not None:
            report = msgspec.structs.replace(report, outcome=Outcome.HALTED, generation=restored)
    _conclude(report, wish)


def _conclude(report: Report, wish: Wish) -> None:
    from pipeline.commands.versions.verdict import verdict

    is_good, text = verdict(report, wish.timeout_s)
    if wish.as_json:
        output.print_json(
            {
                "record": report.record,
                "generation": report.generation,
                "outcome": report.outcome,
                "superseded_by": report.by or None,
                "workers": report.progress.workers,
            }
        )
    if not is_good:
        raise click.ClickException(text)
    if not wish.as_json:
        click.echo(text)


def _announce(edit: Edit, generation: int) -> None:
    record = edit.record
    versions = ", ".join(str(version.version) for version in record.versions) or "nothing"
    labels = "".join(f", {label} is {version}" for label, version in sorted(record.labels.items()))
    pinned = ", pinned" if record.pinned else ""
    click.echo(f"{record.stream}: aspired to {versions}{labels}{pinned} (generation {generation})")
    for label in edit.unanswered_labels():
        click.echo(f"label {label} points to version {record.labels[label]}, which is not aspired", err=True)


def _name() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "penstock"
    return f"{user}@{socket.gethostname()}"
