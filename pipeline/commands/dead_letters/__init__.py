"""``penstock dead-letters``: requests that were put aside; one module per command."""

from __future__ import annotations

import click

from pipeline.commands.lazy_group import LazyGroup


@click.group(
    "dead-letters",
    cls=LazyGroup,
    package=__name__,
    names=("list", "show", "replay"),
    suffix="_letters",
    short_help="List, show and replay requests that were put aside.",
)
def dead_letters() -> None:
    """List and show requests that were put aside as dead letters, and send them again.

    ROUTE may be left out where the settings have one route only.
    """
