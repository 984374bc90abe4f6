"""The storage path source of a file system: polls base paths, and aspires to the versions that are complete."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.clock import Clock, SystemClock
from pipeline.errors import ConnectorError, PathRefused
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, Target
from pipeline.settings import StreamSettings, WatchSettings
from pipeline.storage.completeness import Sighting, digest_of, has_content, sight, take_fingerprint
from pipeline.storage.versions import Latest, Specific, VersionPolicy, choose, policy_of, sort_children

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BasePath:
    """Where the versions of one stream lie, and which of them are aspired."""

    stream: str
    path: Path
    policy: VersionPolicy = field(default_factory=Latest)
    kind: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Watched:
    """What the source remembers of one base path."""

    base: BasePath
    sightings: dict[str, Sighting] = field(default_factory=dict)
    told: tuple[AspiredVersion, ...] | None = None
    warned: set[str] = field(default_factory=set)
    failed: str | None = None

    def warn_once(self, what: str, reason: str) -> None:
        """Log a surprise the first time."""
        message = f"{what}: {reason}"
        if message not in self.warned:
            self.warned.add(message)
            logger.warning("servable stream %s ignores %s", self.base.stream, message)

    def fail(self, reason: str) -> None:
        """Log why this look changed nothing, unless the one before failed in the same way."""
        if self.failed != reason:
            logger.warning("servable stream %s: %s", self.base.stream, reason)
        self.failed = reason


class FileSystemSource:
    """A Source of storage paths.

    A child of a base path whose name is a number is a version, directory or single file; it is aspired when its files
    have not changed for ``quiet_period_s`` and one of them is not empty. A version whose content changes afterwards is
    aspired again, with its new digest, when it is quiet again. A base path that is missing or can not be read changes
    nothing and is logged once; one without versions unloads all. A version whose files lead out of the base path is
    ignored. While nothing but unfinished versions is there, what was aspired last stays.

    Changes go to ``publish`` and to the target, as far as there are any; when one of them raises, the change is told
    again at the next step. Either ``start`` it, or call ``step`` from one thread.
    """

    def __init__(
        self,
        base_paths: Iterable[BasePath],
        clock: Clock,
        publish: Callable[[AspiredVersions], None] | None = None,
        *,
        publisher: str = "",
        quiet_period_s: float = 0.5,
        poll_interval_s: float = 0.25,
    ) -> None:
        self._watched = [_Watched(base) for base in base_paths]
        self._clock = clock
        self._publish = publish
        self._publisher = publisher
        self._quiet_period_s = quiet_period_s
        self._poll_interval_s = poll_interval_s
        self._target: Target[str] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(
        cls, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Callable[[AspiredVersions], None]
    ) -> FileSystemSource:
        """Return the source of these streams."""
        base_paths = [
            BasePath(name, Path(stream.base_path), policy_of(stream.versions), stream.kind)
            for name, stream in streams.items()
        ]
        return cls(
            base_paths,
            SystemClock(),
            publish,
            quiet_period_s=watch.quiet_period_s,
            poll_interval_s=watch.poll_interval_s,
        )

    def set_target(self, target: Target[str]) -> None:
        """See Source."""
        if self._target is not None:
            raise RuntimeError("this source has a target already")
        self._target = target

    def step(self) -> None:
        """Look at every base path once, and tell what has changed. Blocks on the file system; never raises."""
        for watched in self._watched:
            try:
                self._poll(watched)
                watched.failed = None
            except OSError as error:
                watched.fail(f"its base path can not be read: {error}")
            except ConnectorError as error:
                watched.fail(f"its versions are not published yet: {error}")
            except Exception:
                logger.exception("servable stream %s was not polled", watched.base.stream)

    def start(self) -> None:
        """Make steps on a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="penstock-storage", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Make no further step; wait for the one that is running, at most ``timeout_s``."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(self._poll_interval_s)

    def _poll(self, watched: _Watched) -> None:
        base = watched.base
        children, refused = sort_children(child.name for child in base.path.iterdir())
        for name, reason in refused.items():
            watched.warn_once(repr(name), reason)
        self._look(watched, children.values())
        complete = [version for version, name in children.items() if self._is_complete(watched, name)]
        chosen = choose(complete, base.policy)
        if isinstance(base.policy, Specific):
            for version in set(base.policy.versions).difference(children):
                watched.warn_once(f"version {version}", "it is configured, and not there")
        is_unfinished = any(has_content(sighting.fingerprint) for sighting in watched.sightings.values())
        if not chosen and is_unfinished and not complete:
            return
        sightings = {version: watched.sightings[children[version]] for version in chosen}
        self._tell(watched, tuple(AspiredVersion(v, seen.path, seen.digest) for v, seen in sightings.items()))

    def _look(self, watched: _Watched, names: Iterable[str]) -> None:
        before, watched.sightings = watched.sightings, {}
        for name in names:
            path = watched.base.path / name
            try:
                fingerprint = take_fingerprint(path, watched.base.path)
                sighting = sight(before.get(name), str(path), fingerprint, self._clock.monotonic_s())
                watched.sightings[name] = self._digest(sighting, watched.base.path)
            except PathRefused as error:
                watched.warn_once(repr(name), str(error))
            except OSError as error:
                watched.warn_once(repr(name), str(error))
                if name in before:
                    watched.sightings[name] = before[name]

    def _digest(self, sighting: Sighting, base_path: Path) -> Sighting:
        if not sighting.is_due(self._clock.monotonic_s(), self._quiet_period_s):
            return sighting
        path = Path(sighting.path)
        digest = digest_of(path, sighting.fingerprint)
        if take_fingerprint(path, base_path) != sighting.fingerprint:
            return sighting  # written to meanwhile: the next look starts its quiet period again
        return replace(sighting, is_digested=True, digest=digest)

    def _is_complete(self, watched: _Watched, name: str) -> bool:
        sighting = watched.sightings.get(name)
        return sighting is not None and sighting.is_complete

    def _tell(self, watched: _Watched, versions: tuple[AspiredVersion, ...]) -> None:
        if versions == watched.told:
            return
        base = watched.base
        if self._publish is not None:
            now_ms = self._clock.unix_ms()
            record = AspiredVersions(
                base.stream, versions, base.kind, dict(base.labels), publisher=self._publisher, published_at_ms=now_ms
            )
            self._publish(record)
        if self._target is not None:
            self._target.set_aspired(base.stream, [_item(base, v) for v in versions], base.labels, -1)
        watched.told = versions
        numbers = ", ".join(str(v.version) for v in versions) or "nothing"
        logger.info("servable stream %s aspires to %s", base.stream, numbers)


def _item(base: BasePath, version: AspiredVersion) -> Aspired[str]:
    found = ServableId(base.stream, version.version)
    return Aspired(found, version.path, kind=base.kind, path=version.path, digest=version.digest)
