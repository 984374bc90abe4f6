"""``penstock worker``: serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.examples import CommandWithExamples
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from pathlib import Path

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@click.command(
    cls=CommandWithExamples, short_help="Answer requests.", examples=("penstock worker --id worker-2 --web-port 6067",)
)
@options.settings_options
@click.option("--id", "worker_id", metavar="NAME", help="Name of this worker in states and metrics.")
@click.option(
    "--web-port", type=click.IntRange(1, 65535), help="Port of the web pages; differs for workers on one host."
)
@click.option("--without-web", is_flag=True, help="Serve no web pages.")
@click.option("--watch", "is_watching", is_flag=True, help="Look for versions too, as `penstock watch` does.")
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
    help="What is logged.",
)
def worker(
    config: Path | None,
    bootstrap: str | None,
    worker_id: str | None,
    web_port: int | None,
    without_web: bool,  # noqa: FBT001  # click passes options by name
    is_watching: bool,  # noqa: FBT001
    log_level: str,
) -> None:
    """Serve: answer the requests of every route with the versions that are aspired.

    Runs until SIGTERM or Ctrl-C, then finishes what it has begun. Exits with another status than 0 after a crash.
    Servables that are added to the settings file, or removed from it, are taken up meanwhile.
    """
    overrides: dict[str, Any] = {}
    if worker_id is not None:
        overrides["id"] = worker_id
    if web_port is not None:
        overrides["web_port"] = web_port
    file = options.settings_file(config, bootstrap, {"worker": overrides})
    if not file.current.routes:
        raise InvalidSettings(
            "routes", "there are none to answer; add one to penstock.yaml, or name a file with --config"
        )
    from pipeline.app import run_worker  # noqa: PLC0415  # imports Faust

    status = run_worker(
        file, log_level=log_level.upper(), with_web=not without_web, is_watching=True if is_watching else None
    )
    click.get_current_context().exit(status)
