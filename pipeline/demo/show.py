"""What a person sees: steps as they are done, a live table while the stream runs, and the result."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live as LiveDisplay
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from pipeline.demo.report import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.demo.report import Report, Sent
    from pipeline.demo.stage import Stage
    from pipeline.demo.stream import Live

_HEADINGS: Final = ("version", "state", "answered", "accuracy", "p50 ms", "p99 ms")
_MODELS: Final = {1: "1  linear", 2: "2  neural net", 3: "3  corrupt"}
_NO_FIGURES: Final[tuple[str, ...]] = ("0", "-", "-", "-")
_REFRESH_PER_S: Final = 5
_EMBEDDED_NOTE: Final = (
    "This ran on an embedded test broker, which lives in this process and has now forgotten everything. "
    "For a real Kafka: [bold]--broker kafka[/] (one on this machine) or [bold]--bootstrap HOST:PORT[/] (yours)."
)


class Show:
    """Prints to a console: live on a terminal, lines elsewhere, nothing where it is quiet."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start_s = time.monotonic()

    def step(self, text: str) -> None:
        """Say what has been done."""
        self._say(f"[green]✓[/] {escape(text)} [dim]{time.monotonic() - self._start_s:.1f} s[/]")

    def dropped(self, version: int) -> None:
        """Say that a version was put into its directory."""
        kind = "a corrupt version 3: its name is right, its model.xml is noise" if version == 3 else "version 2"
        self.step(f"dropped {kind}")

    @contextmanager
    def stream(self, total: int, sent: Mapping[str, Sent], live: Live, stage: Stage) -> Iterator[None]:
        """Show the figures, on a terminal, while the block runs; they are read and never changed."""
        self.step(f"streaming {total:,} requests, one image each")
        if self._console.quiet or not self._console.is_terminal:
            yield
            return
        progress = Progress(TextColumn("requests"), BarColumn(None), MofNCompleteColumn(), console=self._console)
        task = progress.add_task("", total=total)

        def render() -> RenderableType:
            progress.update(task, completed=len(sent), total=max(total, len(sent)))
            return Group(progress, live_table(live, stage))

        display = LiveDisplay(
            get_renderable=render, console=self._console, refresh_per_second=_REFRESH_PER_S, transient=True
        )
        with display:
            yield

    def result(self, report: Report, states_at_end: Mapping[int, str]) -> None:
        """Print the numbers of a run that is over."""
        self._console.print(result_table(report, states_at_end))
        colour = "red" if report.lost or report.duplicated or report.errors else "green"
        self._say(
            f"[{colour}]{report.requests:,} requests, {report.answered:,} answered, {report.lost} lost, "
            f"{report.duplicated} duplicated, {report.errors} errors[/]"
        )
        self._say(
            f"p50 {report.p50_ms:.1f} ms, p99 {report.p99_ms:.1f} ms at {report.records_per_s:,.0f} requests/s; "
            f"longest silence around the swap {report.swap_gap_ms:.1f} ms"
        )
        broken, fate = report.version_3, "went live" if 3 in report.versions else "never went live"
        self._say(f"Version 3 {fate}: [bold]{escape(broken.state)}[/], {escape(broken.reason or 'no reason given')}")

    def next_steps(self, steps: Sequence[tuple[str, str]], *, is_forgotten: bool) -> None:
        """Print what commands are for, and the commands; where the broker forgot everything, say so first."""
        if is_forgotten:
            self._say(f"\n{_EMBEDDED_NOTE}")
        self._say("\n[bold]Try next[/]")
        for purpose, command in steps:
            self._say(f"  [dim]# {escape(purpose)}[/]")
            # Never broken: a command is there to be copied.
            self._console.print(f"  [bold cyan]{escape(command)}[/]", highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        # Only a terminal has a width to break lines at.
        self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)


def live_table(live: Live, stage: Stage) -> Table:
    """Return the table of a stream that runs; latencies are those of the last thousand answers of each version."""
    table = _table()
    for version, name in _MODELS.items():
        answered = live.answered[version]
        recent = list(live.recent_ms.get(version, ()))
        accuracy = live.right[version] / max(1, answered)
        figures = _figures(answered, accuracy, percentile(recent, 50), percentile(recent, 99))
        table.add_row(name, stage.describe(version), *figures)
    return table


def result_table(report: Report, states: Mapping[int, str]) -> Table:
    """Return the table of a stream that is over."""
    table = _table()
    for version, name in _MODELS.items():
        figures = _NO_FIGURES
        if found := report.versions.get(version):
            figures = _figures(found.answered, found.accuracy, found.p50_ms, found.p99_ms)
        table.add_row(name, states.get(version, "-"), *figures)
    return table


def _table() -> Table:
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in {"version", "state"} else "right", no_wrap=True)
    return table


def _figures(answered: int, accuracy: float, p50_ms: float, p99_ms: float) -> tuple[str, ...]:
    if not answered:
        return _NO_FIGURES
    return (f"{answered:,}", f"{accuracy:.2%}", f"{p50_ms:.1f}", f"{p99_ms:.1f}")
