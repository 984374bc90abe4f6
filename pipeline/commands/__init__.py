"""What ``penstock`` offers on the command line: one module per command, imported when it is asked for.

Results go to stdout, as a table or, with ``--json``, as one JSON value; everything else goes to stderr. Exit status: 0
done, 1 refused or failed (one line says why and what next), 2 not understood.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from pipeline import __version__
from pipeline.errors import PenstockError
from pipeline.local.errors import LocalBrokerError

# In the order in which a newcomer needs them. Each is a module of this package with a command of the same name,
# an underscore for each dash.
NAMES: Final = (
    "demo",
    "check",
    "topics",
    "watch",
    "worker",
    "front-end",
    "predict",
    "versions",
    "dead-letters",
    "warm-up",
    "kafka",
)


class LazyGroup(click.Group):
    """The commands in ``NAMES``, with every error of ours as one readable line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click calls it so
        """See click.Group."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """See click.Group."""
        if cmd_name not in NAMES:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        try:
            return super().invoke(ctx)
        except (PenstockError, LocalBrokerError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="penstock")
def main() -> None:
    """Kafka-native model serving: a request is a record, a new version rolls out through a topic.

    Start with `penstock demo`: the whole thing in a minute, nothing to set up. Settings come from penstock.yaml, or the
    file that --config or PENSTOCK_CONFIG names, then from PENSTOCK_* variables, then from the options.
    """
