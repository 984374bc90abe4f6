"""``penstock versions pin``: exactly these versions."""

from __future__ import annotations

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions.changing import VERSION, Wish, carry_out, change_options


@click.command(
    cls=CommandWithExamples,
    short_help="Serve exactly these versions, whatever is found.",
    examples=("penstock versions pin digits 3",),
)
@click.argument("stream")
@click.argument("versions", type=VERSION, nargs=-1, required=True)
@change_options
def pin(stream: str, versions: tuple[int, ...], wish: Wish) -> None:
    """Serve exactly VERSIONS of STREAM. What sources find is not published until the stream is unpinned."""
    from pipeline.control import edits

    carry_out(stream, wish, lambda standing, known: edits.pin(standing, [known.find(number) for number in versions]))
