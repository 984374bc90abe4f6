"""``penstock versions promote``: move a label."""

from __future__ import annotations

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.versions.changing import VERSION, Wish, carry_out, change_options


@click.command(
    cls=CommandWithExamples,
    short_help="Move a label to a version.",
    examples=("penstock versions promote digits 3", "penstock versions promote digits 4 --label canary"),
)
@click.argument("stream")
@click.argument("version", type=VERSION)
@click.option("--label", default="stable", show_default=True, help="The label to move, or to make.")
@change_options
def promote(stream: str, version: int, label: str, wish: Wish) -> None:
    """Let the label point to VERSION of STREAM, and have that version loaded, in one step.

    Each worker moves the label when it has the version; until then requests with the label are answered as before. A
    version that has a label stays loaded whatever sources find.
    """
    from pipeline.control import edits

    carry_out(stream, wish, lambda standing, known: edits.promote(standing, known.find(version), label))
