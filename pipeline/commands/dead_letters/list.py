"""``penstock dead-letters list``: which requests were put aside, and why."""

from __future__ import annotations

import heapq
from typing import Any

import click

from pipeline.commands import options, output
from pipeline.commands.dead_letters import rendering
from pipeline.commands.dead_letters.selection import Selection, choice_options
from pipeline.commands.examples import CommandWithExamples


@click.command(
    "list",
    cls=CommandWithExamples,
    examples=(
        "penstock dead-letters list digits --since 2h",
        "penstock dead-letters list --error model_error --error poison_record --json",
    ),
)
@choice_options
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many, the latest of those there are."
)
@options.json_option
def list_letters(limit: int, as_json: bool, **filters: Any) -> None:
    """List the dead letters of ROUTE: where they lie, when and why they were put aside, where they came from."""
    selection = Selection(**filters)
    with selection.reader() as reader:
        # They come in order in each lane only.
        latest = heapq.nlargest(
            limit, selection.letters(reader.read(), None), key=lambda letter: (letter.at_ms, letter.place)
        )
    chosen = [(letter, selection.servable(letter)) for letter in reversed(latest)]
    if as_json:
        output.print_json([rendering.as_dict(*each) for each in chosen])
    elif chosen:
        output.print_table(*rendering.table(chosen))
    else:
        click.echo(f"{selection.topic} has no such dead letter", err=True)
