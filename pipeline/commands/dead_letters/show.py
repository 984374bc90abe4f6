"""``penstock dead-letters show``: one dead letter, or several, with all that is in them."""

from __future__ import annotations

from typing import Any

import click

from pipeline.commands import options, output
from pipeline.commands.dead_letters import rendering
from pipeline.commands.dead_letters.selection import Selection, choice_options
from pipeline.commands.examples import CommandWithExamples


@click.command(
    "show",
    cls=CommandWithExamples,
    examples=(
        "penstock dead-letters show digits --partition 0 --offset 17",
        "penstock dead-letters show digits --id 1769860804000-0",
    ),
)
@choice_options
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="How many, from the oldest on.")
@options.json_option
def show_letters(limit: int, as_json: bool, **filters: Any) -> None:
    """Show dead letters of ROUTE: the reason, the headers, and the request, decoded where its bytes are one.

    --json has the whole value, in base64. Exit status 1 where there is none.
    """
    selection = Selection(**filters)
    with selection.reader() as reader:
        found = list(selection.letters(reader.read(), limit))
    if not found:
        raise click.ClickException(f"{selection.topic} has no such dead letter")
    chosen = [(letter, selection.servable(letter), selection.request(letter)) for letter in found]
    if as_json:
        output.print_json(
            [rendering.as_dict(letter, who) | rendering.contents(letter, request) for letter, who, request in chosen]
        )
        return
    for place, (letter, servable, request) in enumerate(chosen):
        if place:
            click.echo()
        for line in rendering.lines(letter, servable, request):
            click.echo(line)
