"""``penstock versions``: what every worker serves, and the commands that change it; one module per command."""

from __future__ import annotations

from typing import Final

import click

from pipeline.commands.lazy_group import LazyGroup

NAMES: Final = ("show", "workers", "promote", "unlabel", "pin", "unpin", "rollback", "unload", "reload")


class VersionsGroup(LazyGroup):
    """Its first command is meant where none is named: ``versions m`` is ``versions show m``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        is_own = bool(args) and (args[0] in NAMES or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if is_own else [NAMES[0], *args])


@click.group(
    cls=VersionsGroup, package=__name__, names=NAMES, short_help="Show what every worker serves, and change it."
)
def versions() -> None:
    """Show which versions every worker serves, and why one is not served; roll versions out and back.

    `penstock versions STREAM` is short for `penstock versions show STREAM`.
    """
