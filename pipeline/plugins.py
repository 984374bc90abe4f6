"""Plugins: connectors, codecs, servables, storage and token providers, found by entry point."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Final

from pipeline.errors import PluginError

CONNECTORS: Final = "penstock.connectors"
CODECS: Final = "penstock.codecs"
SERVABLES: Final = "penstock.servables"
STORAGE: Final = "penstock.storage"
TOKENS: Final = "penstock.token_providers"
GROUPS: Final = (CONNECTORS, CODECS, SERVABLES, STORAGE, TOKENS)


@functools.cache
def installed() -> EntryPoints:
    """Return all plugins that are installed, as they are when this process first asks.

    It opens files of every package, which takes milliseconds and holds the GIL: too long for each load to do it.
    """
    found = entry_points()
    return EntryPoints([plugin for group in GROUPS for plugin in found.select(group=group)])


def names(group: str, plugins: Iterable[EntryPoint] | None = None) -> list[str]:
    """Return the names in a group, sorted, of what is installed unless others are given; imports none of them."""
    return sorted({plugin.name for plugin in _of(group, plugins)})


def find(group: str, name: str, plugins: Iterable[EntryPoint] | None = None) -> Any:
    """Import and return one plugin, whatever its group's contract says it is.

    Raises PluginError: no plugin has that name (the known are listed), two have it, or it can not be imported.
    """
    plugins = _of(group, plugins)
    # By what they point to: a package that is found twice makes one claim.
    found = {plugin.value: plugin for plugin in plugins if plugin.name == name}
    if not found:
        raise PluginError(group, name, f"is not installed; known: {', '.join(names(group, plugins)) or 'none'}")
    if len(found) > 1:
        raise PluginError(group, name, f"claimed by {' and '.join(sorted(found))}; uninstall one of them")
    [(value, plugin)] = found.items()
    try:
        return plugin.load()
    except Exception as error:
        raise PluginError(group, name, f"{value} can not be loaded: {type(error).__name__}: {error}") from error


def _of(group: str, plugins: Iterable[EntryPoint] | None) -> tuple[EntryPoint, ...]:
    return tuple(installed().select(group=group) if plugins is None else plugins)
