"""The options that commands share, and the settings that they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.settings_file import SettingsFile

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(function: F) -> F:
    """Add ``--config`` and ``--bootstrap``; the command passes both on to ``load``."""
    config = click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Settings file.  [default: penstock.yaml here, where there is one]",
    )
    bootstrap = click.option(
        "--bootstrap",
        metavar="HOST:PORT",
        help="Kafka address, or a URL of Redis (redis://host:6379), instead of the one that the settings name.",
    )
    return config(bootstrap(function))


def json_option(function: F) -> F:
    """Add ``--json``, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of text.")(function)


def log_level_option(function: F) -> F:
    """Add ``--log-level``, as the argument ``log_level``."""
    return click.option(
        "--log-level",
        type=click.Choice(_LEVELS, case_sensitive=False),
        default="INFO",
        show_default=True,
        help="What is logged.",
    )(function)


def log_to_stderr(level: str) -> None:
    """Log from ``level`` on, a line each, as a worker does."""
    import logging

    logging.basicConfig(level=level.upper(), format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")


def load(config: Path | None, bootstrap: str | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of this call: the file, the environment, then the options. Raises InvalidSettings."""
    from pipeline import settings

    return settings.load(config, os.environ, _with(bootstrap, overrides))


def settings_file(
    config: Path | None, bootstrap: str | None, overrides: Mapping[str, Any] | None = None
) -> SettingsFile:
    """Return the settings of this call as ``load`` does, to be followed while the command runs."""
    from pipeline.settings_file import SettingsFile

    return SettingsFile(config, os.environ, _with(bootstrap, overrides))


def _with(bootstrap: str | None, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    options: dict[str, Any] = dict(overrides or {})
    if bootstrap is not None:
        from pipeline.settings import at_address

        options |= at_address(bootstrap)
    return options
