"""``penstock versions rollback``: back to a lower version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions.changing import VERSION, Wish, carry_out, change_options, require_standing

if TYPE_CHECKING:
    from pipeline.control.edits import Edit
    from pipeline.control.known_versions import KnownVersions
    from pipeline.records import AspiredVersions


@click.command(
    cls=CommandWithExamples,
    short_help="Go back to a lower version.",
    examples=("penstock versions rollback digits", "penstock versions rollback digits --to 1"),
)
@click.argument("stream")
@click.option("--to", "target", type=VERSION, help="The version.  [default: the highest lower one that has served]")
@change_options
def rollback(stream: str, target: int | None, wish: Wish) -> None:
    """Serve a lower version of STREAM again, and pin it: the versions above it leave, and their labels move to it."""
    from pipeline.control import edits

    def edit(standing: AspiredVersions, known: KnownVersions) -> Edit:
        require_standing(standing)
        return edits.rollback(standing, known.find(known.before() if target is None else target))

    carry_out(stream, wish, edit)
