"""``penstock versions unload``: no longer serve a version."""

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
    short_help="No longer serve a version, or any.",
    examples=("penstock versions unload digits 2",),
)
@click.argument("stream")
@click.argument("version", type=VERSION, required=False)
@change_options
def unload(stream: str, version: int | None, wish: Wish) -> None:
    """Unload VERSION of STREAM, or all of its versions, and pin what is left: sources do not bring it back."""
    from pipeline.control import edits

    def edit(standing: AspiredVersions, _known: KnownVersions) -> Edit:
        require_standing(standing)
        return edits.unload(standing, version)

    carry_out(stream, wish, edit)
