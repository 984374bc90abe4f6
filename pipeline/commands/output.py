"""Printing: tables for people, one JSON value for programs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def print_json(value: Any) -> None:  # whatever msgspec can encode
    """Print one JSON value on one line; NaN and infinities, which JSON does not have, become null."""
    import msgspec

    click.echo(msgspec.json.encode(value))


def bytes_value(value: bytes | None) -> Any:
    """Return text where bytes are UTF-8, else ``{"b64": ...}``, which the client reads too."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """Return a rich table, to print or to keep up to date; cells are shown as they are, without markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*[Text(cell, style=_STYLES.get(cell, "")) for cell in row])
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; one that is not for a terminal is not cut to the width of one."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)
    console.print(table(columns, rows))


def print_next_steps(steps: Iterable[tuple[str, str]]) -> None:
    """Print what to do about what, each step once; empty ones are left out."""
    grouped: dict[str, list[str]] = {}
    for what, step in steps:
        if step:
            grouped.setdefault(step, []).append(what)
    for step, whats in grouped.items():
        click.echo(f"{', '.join(whats)}\n  next: {step}")


_STYLES = {
    "ok": "green",
    "AVAILABLE": "green",
    "problem": "bold red",
    "END": "red",
    "note": "yellow",
    "LOADING": "yellow",
}
