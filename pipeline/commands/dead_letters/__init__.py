"""``penstock dead-letters``: requests that were put aside; one module per command."""

from __future__ import annotations

import importlib
from typing import Final

import click

NAMES: Final = ("list", "show", "replay")


class DeadLettersGroup(click.Group):
    """The commands in ``NAMES``; each is a module of this package with the function ``<name>_letters``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        """See click.Group."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """See click.Group."""
        if cmd_name not in NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), f"{cmd_name}_letters")
        return command


@click.group("dead-letters", cls=DeadLettersGroup, short_help="List, show and replay requests that were put aside.")
def dead_letters() -> None:
    """List and show requests that were put aside as dead letters, and send them again.

    ROUTE may be left out where the settings have one route only.
    """
