"""Progress for whoever waits: a table that keeps itself up to date on a terminal, else a line for each change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pipeline.commands import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.control.progress import Progress

_COLUMNS = ("worker", "stage", "reason")


@contextmanager
def progress_view(*, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress on stderr; one that shows nothing where ``is_quiet``."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    if is_quiet:
        yield lambda _progress: None
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda progress: live.update(output.table(_COLUMNS, _rows(progress)), refresh=True)
    else:
        yield _lines()


def _lines() -> Callable[[Progress], None]:
    told: dict[str, tuple[str, ...]] = {}

    def show(progress: Progress) -> None:
        for worker, *rest in _rows(progress):
            if told.get(worker) != tuple(rest):
                told[worker] = tuple(rest)
                click.echo(f"{worker}: {': '.join(part for part in rest if part)}", err=True)

    return show


def _rows(progress: Progress) -> list[tuple[str, str, str]]:
    return [(worker.worker, str(worker.stage), worker.reason) for worker in progress.workers]
