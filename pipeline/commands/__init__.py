"""What ``penstock`` offers on the command line: one module per command, imported when it is asked for.

Results go to stdout, as a table or, with ``--json``, as one JSON value; everything else goes to stderr. Exit status: 0
done, 1 refused or failed (one line says why and what next), 2 not understood.
"""

from __future__ import annotations

from typing import Any, Final

import click

from pipeline import __version__
from pipeline.commands.lazy_group import LazyGroup
from pipeline.errors import PenstockError
from pipeline.local.errors import LocalBrokerError

# In the order in which a newcomer needs them.
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


class _Readable(LazyGroup):
    """Its commands, with every error of ours as one readable line."""

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        try:
            return super().invoke(ctx)
        except (PenstockError, LocalBrokerError) as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Readable,
    package=__name__,
    names=NAMES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="penstock")
def main() -> None:
    """Kafka-native model serving: a request is a record, a new version rolls out through a topic.

    Start with `penstock demo`: the whole thing in a minute, nothing to set up. Settings come from penstock.yaml, or the
    file that --config or PENSTOCK_CONFIG names, then from PENSTOCK_* variables, then from the options.
    """
