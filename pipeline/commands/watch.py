"""``penstock watch``: find versions in storage, and aspire to them."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.examples import CommandWithExamples
from pipeline.commands.until_stopped import until_stopped
from pipeline.errors import InvalidSettings, PenstockError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from pipeline.control.source_publisher import SourcePublisher
    from pipeline.records import AspiredVersions
    from pipeline.settings import Settings
    from pipeline.settings_file import SettingsFile
    from pipeline.storage.sources import Sources

_TIMEOUT_S = 10.0
_LOOK_S = 0.2
_RELOAD_INTERVAL_S = 1.0


@click.command(
    cls=CommandWithExamples,
    short_help="Find versions in storage, and have them loaded.",
    examples=("penstock watch --config penstock.yaml", "penstock watch --once --await-versions 60"),
)
@options.settings_options
@click.option("--once", is_flag=True, help="Publish what is there now, and end.")
@click.option(
    "--await-versions",
    "await_versions_s",
    type=click.FloatRange(min=0),
    help="With --once: seconds to wait until every stream has a version; else fail.  [default: from the settings]",
)
@click.option(
    "--halt-on-failure", "is_halting", is_flag=True, help="Take a version that fails on one worker out everywhere."
)
@options.log_level_option
def watch(
    config: Path | None,
    bootstrap: str | None,
    once: bool,
    await_versions_s: float | None,
    is_halting: bool,
    log_level: str,
) -> None:
    """Look for versions below every base path, and publish the aspired set of a stream whenever it changes.

    Prints a line for each set that the broker has accepted. A version counts when it is complete: when it has not
    changed for the quiet period, or by its marker or manifest. Runs until SIGTERM or Ctrl-C; a broker or a directory
    that is away is waited for, and changed settings of servables are taken up.
    """
    if await_versions_s is not None and not once:
        raise click.UsageError("--await-versions goes with --once")
    options.log_to_stderr(log_level)
    chosen: dict[str, Any] = {} if await_versions_s is None else {"await_versions_s": await_versions_s}
    if is_halting:
        chosen["halt_on_failure"] = True
    file = options.settings_file(config, bootstrap, {"watch": chosen})
    settings = file.current
    if not settings.servables:
        raise InvalidSettings("servables", "there are none to watch; add one to penstock.yaml")
    from pipeline.control.source_publisher import SourcePublisher

    if once or settings.watch.missing_base_path == "error":
        _require_base_paths(settings)
    failures: list[Exception] = []
    name = f"watch-{socket.gethostname()}"
    publisher = SourcePublisher(settings, name, on_fatal=failures.append, on_published=_print)
    publisher.start()
    try:
        if once:
            _publish_once(settings, publisher)
        else:
            with until_stopped() as stopped:
                _publish_until(stopped, file, publisher, failures)
    finally:
        publisher.stop()
    if failures:
        raise failures[0]


def _require_base_paths(settings: Settings) -> None:
    for name, stream in settings.servables.items():
        if stream.storage == "file" and not Path(stream.base_path).is_dir():
            raise InvalidSettings(f"servables.{name}.base_path", f"{stream.base_path} is not a directory")


def _publish_until(
    stopped: threading.Event, file: SettingsFile, publisher: SourcePublisher, failures: list[Exception]
) -> None:
    sources = _sources(file.current, publisher)
    sources.start()
    reload_at_s = time.monotonic() + _RELOAD_INTERVAL_S
    try:
        while not stopped.wait(_LOOK_S) and not failures:
            if time.monotonic() >= reload_at_s:
                reload_at_s += _RELOAD_INTERVAL_S
                _reload(sources, file)
    finally:
        sources.stop()


def _reload(sources: Sources, file: SettingsFile) -> None:
    before = file.current
    found = file.poll()
    if found is None:
        return
    try:
        sources.update(found)
    except PenstockError as error:
        click.echo(f"the streams stay as they were: {error}", err=True)
        return
    click.echo(f"settings changed: {len(found.servables)} servables are watched", err=True)
    fixed = [name for name in ("kafka", "redis", "control", "watch") if getattr(before, name) != getattr(found, name)]
    if fixed:
        click.echo(f"{' and '.join(fixed)} changed too; that takes a restart", err=True)


def _publish_once(settings: Settings, publisher: SourcePublisher) -> None:
    """Look first, publish then: nothing is published before every base path has been looked at."""
    found: dict[str, AspiredVersions] = {}

    def keep(aspired: AspiredVersions) -> None:
        found[aspired.stream] = aspired

    sources = _sources(settings, keep)
    began_s = time.monotonic()
    # A version counts after its quiet period; the looks before and after it bracket that.
    least_s = max(_bracket_s(settings, name) for name in settings.servables)
    while True:
        sources.step()
        passed_s = time.monotonic() - began_s
        without = [name for name in settings.servables if name not in found or not found[name].versions]
        if passed_s > least_s and (not without or passed_s > settings.watch.await_versions_s):
            break
        time.sleep(settings.watch.poll_interval_s)
    if without and settings.watch.await_versions_s:
        reason = f"no complete version within {settings.watch.await_versions_s:g} s; nothing is published"
        raise InvalidSettings(", ".join(f"servables.{name}" for name in without), reason)
    for aspired in found.values():
        publisher(aspired)
    publisher.finish(_TIMEOUT_S)


def _bracket_s(settings: Settings, name: str) -> float:
    stream, watch = settings.servables[name], settings.watch
    quiet_s = watch.quiet_period_s if stream.quiet_period_s is None else stream.quiet_period_s
    return quiet_s + 2 * watch.poll_interval_s if stream.complete_when == "quiet" else watch.poll_interval_s


def _sources(settings: Settings, publish: Callable[[AspiredVersions], None]) -> Sources:
    from pipeline.storage.sources import Sources

    return Sources(settings, publish)


def _print(aspired: AspiredVersions, generation: int) -> None:
    versions = ", ".join(str(version.version) for version in aspired.versions) or "nothing"
    click.echo(f"{aspired.stream}: aspired to {versions} (generation {generation})")
