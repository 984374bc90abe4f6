"""``penstock watch``: find versions in storage, and aspire to them."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import ConnectorError, InvalidSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from pipeline.control.aspired import AspiredPublisher
    from pipeline.records import AspiredVersions
    from pipeline.settings import Settings

_RETRY_S = 1.0


@click.command(
    cls=CommandWithExamples,
    short_help="Find versions in storage, and have them loaded.",
    examples=("penstock watch --config penstock.yaml",),
)
@options.settings_options
@click.option("--once", is_flag=True, help="Publish what is there now, and end.")
def watch(config: Path | None, bootstrap: str | None, once: bool) -> None:  # noqa: FBT001  # click passes options by name
    """Look for versions below every base path, and publish the aspired set of a stream whenever it changes.

    Prints a line for each set that the broker has accepted. A version directory counts when it has not changed for the
    quiet period. Runs until SIGTERM or Ctrl-C; a broker or a directory that is away is waited for.
    """
    settings = options.load(config, bootstrap)
    if not settings.servables:
        raise InvalidSettings("servables", "there are none to watch; add one to penstock.yaml")
    from pipeline.control.aspired import AspiredPublisher  # noqa: PLC0415  # loads Kafka's client

    publisher = AspiredPublisher(settings.kafka, settings.control.aspired_topic, f"watch-{socket.gethostname()}")
    try:
        if once:
            _publish_once(settings, publisher)
        else:
            with until_stopped() as stopped:
                _publish_until(stopped, settings, publisher)
    finally:
        publisher.close()


def _publish_until(stopped: threading.Event, settings: Settings, publisher: AspiredPublisher) -> None:
    problem = ""

    def publish(aspired: AspiredVersions) -> None:
        nonlocal problem
        while not stopped.is_set():
            try:
                _publish(publisher, aspired)
            except ConnectorError as error:
                if str(error) != problem:
                    problem = str(error)
                    click.echo(f"{problem}; waiting", err=True)
                stopped.wait(_RETRY_S)
            else:
                problem = ""
                return

    step = _stepper(settings, publish)
    while not stopped.is_set():
        step()
        stopped.wait(settings.watch.poll_interval_s)


def _publish_once(settings: Settings, publisher: AspiredPublisher) -> None:
    for name, stream in settings.servables.items():
        if not Path(stream.base_path).is_dir():
            raise InvalidSettings(f"servables.{name}.base_path", f"{stream.base_path} is not a directory")
    failures: list[ConnectorError] = []

    def publish(aspired: AspiredVersions) -> None:
        try:
            _publish(publisher, aspired)
        except ConnectorError as error:
            failures.append(error)

    step = _stepper(settings, publish)
    # A version counts after its quiet period; the looks before and after it bracket that.
    deadline = time.monotonic() + settings.watch.quiet_period_s + settings.watch.poll_interval_s
    while time.monotonic() < deadline and not failures:
        step()
        time.sleep(settings.watch.poll_interval_s)
    if not failures:
        step()
    if failures:
        raise failures[0]


def _stepper(settings: Settings, publish: Callable[[AspiredVersions], None]) -> Callable[[], None]:
    from pipeline.storage.sources import Sources  # noqa: PLC0415  # imports plugins

    return Sources(settings, publish).step


def _publish(publisher: AspiredPublisher, aspired: AspiredVersions) -> None:
    generation = publisher.publish(aspired)
    versions = ", ".join(str(version.version) for version in aspired.versions) or "nothing"
    click.echo(f"{aspired.stream}: aspired to {versions} (generation {generation})")
