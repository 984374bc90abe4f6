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
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.control.source_publisher import SourcePublisher
    from pipeline.records import AspiredVersions
    from pipeline.settings import Settings

_TIMEOUT_S = 10.0


@click.command(
    cls=CommandWithExamples,
    short_help="Find versions in storage, and have them loaded.",
    examples=("penstock watch --config penstock.yaml",),
)
@options.settings_options
@click.option("--once", is_flag=True, help="Publish what is there now, and end.")
@click.option(
    "--halt-on-failure", "is_halting", is_flag=True, help="Take a version that fails on one worker out everywhere."
)
def watch(
    config: Path | None,
    bootstrap: str | None,
    once: bool,  # noqa: FBT001  # click passes options by name
    is_halting: bool,  # noqa: FBT001
) -> None:
    """Look for versions below every base path, and publish the aspired set of a stream whenever it changes.

    Prints a line for each set that the broker has accepted. A version directory counts when it has not changed for the
    quiet period. Runs until SIGTERM or Ctrl-C; a broker or a directory that is away is waited for.
    """
    overrides = {"watch": {"halt_on_failure": True}} if is_halting else None
    settings = options.load(config, bootstrap, overrides)
    if not settings.servables:
        raise InvalidSettings("servables", "there are none to watch; add one to penstock.yaml")
    from pipeline.control.source_publisher import SourcePublisher  # noqa: PLC0415  # loads Kafka's client

    failures: list[Exception] = []
    name = f"watch-{socket.gethostname()}"
    publisher = SourcePublisher(settings, name, on_fatal=failures.append, on_published=_print)
    publisher.start()
    try:
        if once:
            _publish_once(settings, publisher)
        else:
            with until_stopped() as stopped:
                step = _stepper(settings, publisher)
                while not stopped.wait(settings.watch.poll_interval_s) and not failures:
                    step()
    finally:
        publisher.stop()
    if failures:
        raise failures[0]


def _publish_once(settings: Settings, publisher: SourcePublisher) -> None:
    for name, stream in settings.servables.items():
        if not Path(stream.base_path).is_dir():
            raise InvalidSettings(f"servables.{name}.base_path", f"{stream.base_path} is not a directory")
    step = _stepper(settings, publisher)
    # A version counts after its quiet period; the looks before and after it bracket that.
    deadline = time.monotonic() + settings.watch.quiet_period_s + settings.watch.poll_interval_s
    while time.monotonic() < deadline:
        step()
        time.sleep(settings.watch.poll_interval_s)
    step()
    publisher.finish(_TIMEOUT_S)


def _stepper(settings: Settings, publish: Callable[[AspiredVersions], None]) -> Callable[[], None]:
    from pipeline.storage.sources import Sources  # noqa: PLC0415  # imports plugins

    return Sources(settings, publish).step


def _print(aspired: AspiredVersions, generation: int) -> None:
    versions = ", ".join(str(version.version) for version in aspired.versions) or "nothing"
    click.echo(f"{aspired.stream}: aspired to {versions} (generation {generation})")
