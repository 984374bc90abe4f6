"""``penstock versions reload``: the same content once more."""

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
    cls=CommandWithExamples, short_help="Load the same content anew.", examples=("penstock versions reload digits 2",)
)
@click.argument("stream")
@click.argument("version", type=VERSION, required=False)
@change_options
def reload(stream: str, version: int | None, wish: Wish) -> None:
    """Load VERSION of STREAM anew, or all that are aspired, beside what is loaded, which answers until then."""
    from pipeline.control import edits

    def edit(standing: AspiredVersions, _known: KnownVersions) -> Edit:
        require_standing(standing)
        return edits.reload(standing, version)

    carry_out(stream, wish, edit)
