"""Plugins: connectors, codecs, servables and storage, found by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pipeline.errors import PluginError

CONNECTORS: Final = "penstock.connectors"
CODECS: Final = "penstock.codecs"
SERVABLES: Final = "penstock.servables"
STORAGE: Final = "penstock.storage"
GROUPS: Final = (CONNECTORS, CODECS, SERVABLES, STORAGE)


def names(group: str) -> list[str]:
    """Return the names that are installed in a group, sorted; imports none of them."""
    return sorted({entry.name for entry in entry_points(group=group)})


def find(group: str, name: str) -> Any:  # a plugin is whatever its group's contract says
    """Import and return one plugin; raises PluginError when it is unknown, claimed twice or can not be imported."""
    found: set[EntryPoint] = {entry for entry in entry_points(group=group) if entry.name == name}
    targets = {entry.value for entry in found}
    if not targets:
        raise PluginError(group, name, f"is not installed; installed: {', '.join(names(group)) or 'none'}")
    if len(targets) > 1:
        raise PluginError(group, name, f"is claimed by {' and '.join(sorted(targets))}; uninstall one of them")
    try:
        return found.pop().load()
    except Exception as error:
        raise PluginError(group, name, f"can not be imported: {type(error).__name__}: {error}") from error
