"""Which kinds of servables there are, and of which kind a version is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from pipeline.errors import AmbiguousKind, PluginError, UnknownKind
from pipeline.registry.source_adapter import SourceAdapter

logger = logging.getLogger(__name__)

GROUP: Final = "penstock.servables"


def load_adapter(kind: str, plugins: Iterable[EntryPoint] | None = None) -> SourceAdapter:
    """Return a new adapter of this kind, from the installed plugins unless others are given.

    Raises PluginError: no plugin has that name (the known are listed), two have it, or it can not be imported.
    """
    claims = _claims(plugins)
    found = claims.get(kind, {})
    if not found:
        raise PluginError(GROUP, kind, f"unknown; known: {', '.join(sorted(claims)) or 'none'}")
    if len(found) > 1:
        raise PluginError(GROUP, kind, f"claimed by {' and '.join(sorted(found))}; uninstall one of them")
    [(value, plugin)] = found.items()
    try:
        adapter: SourceAdapter = plugin.load()()
    except Exception as error:
        raise PluginError(GROUP, kind, f"{value} can not be loaded: {type(error).__name__}: {error}") from error
    return adapter


def load_adapters(plugins: Iterable[EntryPoint] | None = None) -> dict[str, SourceAdapter]:
    """Return an adapter of every kind that works, by name; one that does not is logged and left out."""
    plugins = tuple(entry_points(group=GROUP) if plugins is None else plugins)
    adapters = {}
    for kind in sorted(_claims(plugins)):
        try:
            adapters[kind] = load_adapter(kind, plugins)
        except PluginError as error:
            logger.warning("%s", error)
    return adapters


def detect(path: Path, adapters: Mapping[str, SourceAdapter]) -> str:
    """Return the kind of the version at ``path``, by its files. Reads the file system.

    Raises UnknownKind, which says what was looked for, or AmbiguousKind, which lists the kinds that fit.
    """
    fitting = [kind for kind, adapter in adapters.items() if adapter.detect(path)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        reason = f"its files fit several kinds ({', '.join(sorted(fitting))}); name one as kind of the servable"
        raise AmbiguousKind(str(path), reason)
    wanted = "; ".join(f"{kind}: {adapter.looks_for}" for kind, adapter in sorted(adapters.items()))
    raise UnknownKind(str(path), f"its files fit no kind; looked for {wanted or 'nothing, no kind is installed'}")


def _claims(plugins: Iterable[EntryPoint] | None) -> dict[str, dict[str, EntryPoint]]:
    """Group the plugins by name, then by what they point to: a package that is found twice makes one claim."""
    claims: dict[str, dict[str, EntryPoint]] = {}
    for plugin in entry_points(group=GROUP) if plugins is None else plugins:
        claims.setdefault(plugin.name, {})[plugin.value] = plugin
    return claims
