"""A group of commands that imports each of them when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

import click


class LazyGroup(click.Group):
    """The commands in ``names``, in their order.

    Each is a module of ``package`` with a function of the same name and ``suffix``, an underscore for each dash.
    """

    def __init__(self, *args: Any, package: str, names: tuple[str, ...], suffix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._names, self._suffix = package, names, suffix

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        """See click.Group."""
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """See click.Group."""
        if cmd_name not in self._names:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{self._package}.{name}"), name + self._suffix)
        return command
