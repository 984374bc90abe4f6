"""``penstock versions unpin``: leave a stream to its sources again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions.changing import Wish, carry_out, change_options, require_standing

if TYPE_CHECKING:
    from pipeline.control.edits import Edit
    from pipeline.control.known_versions import KnownVersions
    from pipeline.records import AspiredVersions


@click.command(
    cls=CommandWithExamples,
    short_help="Leave a stream to its sources again.",
    examples=("penstock versions unpin digits",),
)
@click.argument("stream")
@change_options
def unpin(stream: str, wish: Wish) -> None:
    """Let sources decide again which versions of STREAM are served; a running watcher does so at once."""
    from pipeline.control import edits

    def edit(standing: AspiredVersions, known: KnownVersions) -> Edit:
        require_standing(standing)
        return edits.unpin(standing, known.labelled())

    carry_out(stream, wish, edit)
