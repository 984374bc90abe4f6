"""Which kinds of servables there are, and of which kind a version is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

from pipeline import plugins
from pipeline.errors import AmbiguousKind, PluginError, UnknownKind
from pipeline.registry.source_adapter import SourceAdapter
from pipeline.servables.model_file import names_in

logger = logging.getLogger(__name__)


def load_adapter(kind: str, installed: Iterable[EntryPoint] | None = None) -> SourceAdapter:
    """Return a new adapter of this kind, from the installed plugins unless others are given; raises PluginError."""
    make = plugins.find(plugins.SERVABLES, kind, installed)
    try:
        adapter: SourceAdapter = make()
    except Exception as error:
        reason = f"{make!r} can not be loaded: {type(error).__name__}: {error}"
        raise PluginError(plugins.SERVABLES, kind, reason) from error
    return adapter


def load_adapters(installed: Iterable[EntryPoint] | None = None) -> dict[str, SourceAdapter]:
    """Return an adapter of every kind that works, by name; one that does not is logged and left out."""
    adapters = {}
    for kind in plugins.names(plugins.SERVABLES, installed):
        try:
            adapters[kind] = load_adapter(kind, installed)
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
    looked_for = wanted or "nothing, no kind is installed"
    raise UnknownKind(str(path), f"its files fit no kind: {names_in(path)}; looked for {looked_for}")
