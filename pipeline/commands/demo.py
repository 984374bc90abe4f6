"""``penstock demo``: the whole thing in a minute."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from pipeline.commands import options, output
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pipeline.demo.broker import Broker
    from pipeline.demo.run import Outcome, Plan
    from pipeline.demo.show import Show

_BROKERS = ("embedded", "kafka")


@click.command()
@click.option(
    "--broker",
    "kind",
    type=click.Choice(_BROKERS),
    default="embedded",
    show_default=True,
    help="A test broker inside this process, or a real Kafka that is started on this machine (extra: broker).",
)
@options.settings_options
@click.option(
    "--requests",
    type=click.IntRange(1000),
    default=18_000,
    show_default=True,
    help="How many at least; the stream goes on until every version has had its turn.",
)
@click.option("--rate", "per_s", type=click.IntRange(1), default=1000, show_default=True, help="Requests a second.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the models, a penstock.yaml, an image and the logs in this new directory.",
)
@options.json_option
def demo(
    kind: Literal["embedded", "kafka"],
    config: Path | None,
    bootstrap: str | None,
    requests: int,
    per_s: int,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Serve handwritten digits, roll out version 2 in mid-stream, and see a broken version 3 refused.

    Trains two models, starts a broker, a worker and a watcher, streams images as requests, drops new versions into the
    model directory meanwhile, and counts every answer. Takes half a minute. Needs the extra "demo". With --bootstrap or
    --config it runs on your own Kafka, with topics of its own that are deleted at the end. Exit status 0 only if
    nothing was lost, doubled or failed, and the versions did what they should.

    \b
    Examples:
      penstock demo
      penstock demo --broker kafka --keep penstock-demo
      penstock demo --bootstrap kafka.example:9092 --json
    """  # noqa: D301  # \b is click's mark for lines that stay as they are
    if kind == "kafka" and (bootstrap is not None or config is not None):
        raise click.UsageError("--broker kafka starts a Kafka; --bootstrap and --config name one that is running")
    if keep is not None and keep.exists():
        raise InvalidSettings("--keep", f"{keep} exists already; name a new directory")
    from rich.console import Console

    from pipeline.demo.report import to_object
    from pipeline.demo.run import Plan
    from pipeline.demo.show import Show

    show = Show(Console(quiet=as_json))
    outcome = _run(Plan(requests, per_s, keep), _venue(kind, config, bootstrap), show)
    show.result(outcome.report, outcome.states)
    if as_json:
        output.print_json(to_object(outcome.report))
    if outcome.shortcomings:
        raise click.ClickException("\n".join([*outcome.shortcomings, outcome.evidence]))
    show.next_steps(_next_steps(keep), is_forgotten=kind == "embedded" and bootstrap is None and config is None)


def _run(plan: Plan, venue: AbstractContextManager[Broker], show: Show) -> Outcome:
    from pipeline.demo.run import run
    from pipeline.demo.stage import StageFailed

    try:
        with _terminable():
            return run(plan, venue, show)
    except StageFailed as error:
        raise click.ClickException(str(error)) from error


def _venue(
    kind: Literal["embedded", "kafka"], config: Path | None, bootstrap: str | None
) -> AbstractContextManager[Broker]:
    from pipeline.demo import broker

    if bootstrap is not None or config is not None:
        settings = options.load(config, bootstrap)
        if settings.control.connector == "redis":
            raise InvalidSettings("--bootstrap", "the demo runs on Kafka; name one by host:port, or none for its own")
        return broker.own(settings.kafka)
    return broker.local_kafka() if kind == "kafka" else broker.embedded()


def _next_steps(keep: Path | None) -> list[tuple[str, str]]:
    """Return what each of three commands is for, and the command."""
    penstock = "penstock" if shutil.which("penstock") else sys.argv[0]
    if keep is None:
        return [
            ("the same on a real Kafka, without Docker (extra: broker)", f"{penstock} demo --broker kafka"),
            ("keep models, settings and an image, to run each part by hand", f"{penstock} demo --keep penstock-demo"),
            ("a real Kafka that stays, for a penstock.yaml of your own (extra: broker)", f"{penstock} kafka"),
        ]
    ours = f"-c {keep / 'penstock.yaml'}"
    serve = f"{penstock} topics {ours} --create && {penstock} worker {ours} --watch"
    return [
        ("a real Kafka at localhost:9092 (extra: broker)", f"{penstock} kafka"),
        ("in a second terminal: serve what was kept", serve),
        ("in a third: ask about an image", f"{penstock} predict digits @{keep / 'image.npy'} {ours}"),
    ]


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that everything is cleaned up. On the main thread only."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
