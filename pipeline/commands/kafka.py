"""``penstock kafka``: a real Kafka without Docker."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import InvalidSettings


@click.command(
    cls=CommandWithExamples,
    short_help="Run a real Kafka on this machine until Ctrl-C.",
    examples=("penstock kafka --data-dir ./kafka-data",),
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its data is kept.  [default: a temporary folder, removed at the end]",
)
def kafka(port: int, data_dir: Path | None) -> None:
    """Run a real single-node Kafka on this machine until Ctrl-C.

    For development: needs no Docker and no Java, but the extra "broker"; the first start fetches 43 MB.
    """
    from pipeline.local.kafka import LocalKafka
    from pipeline.local.ports import is_free

    if port and not is_free(port):
        raise InvalidSettings("--port", f"{port} is in use; --port 0 takes a free one")
    with until_stopped() as stopped:
        click.echo("starting Kafka ...", err=True)
        with LocalKafka(data_dir, port=port or None) as local:
            click.echo(local.bootstrap)
            click.echo("Kafka is ready at this address; Ctrl-C stops it. Next: penstock topics --create", err=True)
            while not stopped.wait(1.0):
                for node in local.nodes:
                    if not node.is_running:
                        raise node.failure("has ended")
    click.echo("Kafka has stopped", err=True)
