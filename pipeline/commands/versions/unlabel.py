"""``penstock versions unlabel``: take a label away."""

from __future__ import annotations

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions.changing import Wish, carry_out, change_options


@click.command(
    cls=CommandWithExamples, short_help="Take a label away.", examples=("penstock versions unlabel digits canary",)
)
@click.argument("stream")
@click.argument("label")
@change_options
def unlabel(stream: str, label: str, wish: Wish) -> None:
    """Take LABEL away from STREAM. The version that it pointed to is left to the sources."""
    from pipeline.control import edits

    carry_out(stream, wish, lambda standing, _known: edits.unlabel(standing, label))
