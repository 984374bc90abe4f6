"""One version directory of this machine, loaded in this process as a worker loads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipeline.errors import InvalidSettings
from pipeline.registry.servable import Servable, ServableId
from pipeline.rollout import Adapters
from pipeline.settings import BatchingSettings, Settings, StreamSettings, WarmUpSettings
from pipeline.storage.versions import parse_version


class LocalVersion:
    """A directory, and how it is loaded: by the settings of its servable, and by ``kind`` and ``options`` before them.

    ``servable`` names the settings; without it they are those of the servable whose base path holds the directory, if
    there is one. Raises InvalidSettings for a servable that is not in the settings.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        servable: str | None = None,
        kind: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path.resolve()
        name, stream = _stream_of(self.path, settings, servable)
        self.id = ServableId(name, parse_version(self.path.name) or 0)
        self.warm_up: WarmUpSettings = stream.warm_up
        self.batching: BatchingSettings = stream.batching
        self._kind = kind or stream.kind
        self._options = stream.options if options is None else options

    @contextmanager
    def loaded(self) -> Iterator[Servable]:
        """Load it, and unload it at the end; raises LoadFailed and InvalidSettings as the worker's log shows them."""
        adapters = Adapters()
        adapter = adapters.named(self._kind) if self._kind else adapters.fitting(self.path)
        loader = adapter.loader(self.id, self.path, self._options)
        servable = loader.load()
        try:
            yield servable
        finally:
            loader.unload()


def parse_options(text: str | None) -> dict[str, Any] | None:
    """Return the options of a kind from JSON; raises click.BadParameter."""
    if text is None:
        return None
    try:
        options = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--options") from error
    if not isinstance(options, dict):
        raise click.BadParameter("expected an object, as in penstock.yaml", param_hint="--options")
    return options


def _stream_of(path: Path, settings: Settings, servable: str | None) -> tuple[str, StreamSettings]:
    if servable is not None:
        if servable not in settings.servables:
            known = ", ".join(settings.servables) or "none"
            raise InvalidSettings("--servable", f"{servable!r} is not among the servables: {known}")
        return servable, settings.servables[servable]
    for name, stream in settings.servables.items():
        if "://" not in stream.base_path and Path(stream.base_path).resolve() == path.parent:
            return name, stream
    return path.parent.name or "version", StreamSettings(base_path=str(path.parent))
