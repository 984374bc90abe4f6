"""The settings file at run time: read again when it has changed, and taken only when it is right."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline import settings
from pipeline.errors import InvalidSettings
from pipeline.settings import Settings

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


def take_servables(running: Settings, found: Settings) -> Settings:
    """Return the running settings with the servables of others; those that a running route needs stay. Pure."""
    needed = {route.servable: running.servables[route.servable] for route in running.routes.values()}
    return msgspec.structs.replace(running, servables={**needed, **found.servables})


def need_restart(running: Settings, found: Settings) -> list[str]:
    """Return the sections, beside the servables, whose changes are not taken up at run time. Pure."""
    names = [field.name for field in msgspec.structs.fields(Settings) if field.name != "servables"]
    return [name for name in names if getattr(running, name) != getattr(found, name)]


class SettingsFile:
    """Follows the file that ``settings.load`` was given, or found, with the same environment and overrides.

    For one thread; ``poll`` it about once a second. It knows neither who uses the settings nor which of them can change
    at run time.
    """

    def __init__(
        self,
        path: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._environ, self._overrides = path, environ, overrides
        self._file = settings.file_of(path, environ)
        self.current = settings.load(path, environ, overrides)
        self.problem: str | None = None
        self._stamp = self._new_stamp = self._look()
        self._digest = self._read()

    def poll(self) -> Settings | None:
        """Return the new settings once, None while there are none. Reads the file where it has changed.

        What has changed must look the same at two polls: an editor may be half-way. A file that is wrong, or gone,
        changes nothing; ``problem`` then says why, and the log does when that changes.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return None
        if stamp != self._new_stamp:
            self._new_stamp = stamp
            return None
        digest = self._read()
        if self._look() != stamp:
            return None
        self._stamp = stamp
        if digest == self._digest:
            return None
        self._digest = digest
        if digest is None:
            self._report(f"{self._file}: it is gone, or can not be read")
            return None
        return self._load()

    def _load(self) -> Settings | None:
        try:
            found = settings.load(self._path, self._environ, self._overrides)
        except InvalidSettings as error:
            self._report(str(error))
            return None
        self.problem = None
        if found == self.current:
            return None
        self.current = found
        return found

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("the settings stay as they were: %s", problem)
        self.problem = problem

    def _look(self) -> _Stamp | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> str | None:
        try:
            return hashlib.sha256(self._file.read_bytes()).hexdigest()
        except OSError:
            return None
