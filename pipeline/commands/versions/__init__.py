"""``penstock versions``: what every worker serves, and the commands that change it; one module per command."""

from __future__ import annotations

import importlib
from typing import Final

import click

NAMES: Final = ("show", "workers", "promote", "unlabel", "pin", "unpin", "rollback", "unload", "reload")


class VersionsGroup(click.Group):
    """The commands in ``NAMES``. The first is meant where none is named: ``versions m`` is ``versions show m``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        """See click.Group."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """See click.Group."""
        if cmd_name not in NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        is_own = bool(args) and (args[0] in NAMES or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if is_own else [NAMES[0], *args])


@click.group(cls=VersionsGroup, short_help="Show what every worker serves, and change it.")
def versions() -> None:
    """Show which versions every worker serves, and why one is not served; roll versions out and back.

    `penstock versions STREAM` is short for `penstock versions show STREAM`.
    """
