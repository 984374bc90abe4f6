"""A storage path source made of one method, which says what is live now; it is asked again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

from pipeline.errors import PenstockError
from pipeline.records import AspiredVersions
from pipeline.registry.source import Target
from pipeline.settings import StreamSettings, WatchSettings
from pipeline.storage.to_target import to_target

logger = logging.getLogger(__name__)

_NOT_KNOWN: Final = "nothing is known of its versions"
_NOT_TOLD: Final = "its versions are not published yet"


class PollingSource:
    """A Source of storage paths, and a StoragePathSource; a subclass says what it sees in ``look`` and keeps no state.

    A set goes to ``publish`` and to the target, as far as there are any, when it differs from the last one that was
    accepted; when one of them raises, it is told again at the next step. A look that raises changes nothing, and is
    logged when it begins to raise. Either ``start`` it, or call ``step`` from one thread.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamSettings],
        publish: Callable[[AspiredVersions], None] | None = None,
        *,
        poll_interval_s: float = 0.25,
    ) -> None:
        self._streams = dict(streams)
        self._publish = publish
        self._poll_interval_s = poll_interval_s
        self._target: Target[str] | None = None
        self._told: dict[str, dict[str, AspiredVersions]] = {}
        self._problems: dict[tuple[str, str], str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(
        cls, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Callable[[AspiredVersions], None]
    ) -> Self:
        """Return the source of these streams."""
        return cls(streams, publish, poll_interval_s=watch.poll_interval_s)

    def look(self, name: str, stream: StreamSettings) -> Iterable[AspiredVersions]:
        """Return the full set of versions that are live now, for the stream itself or for each stream found below it.

        A stream that was found before and is missing here has gone: its versions are unloaded. So raise, for instance
        OSError, when the storage can not be asked. May block; called on one thread.
        """
        raise NotImplementedError

    def set_target(self, target: Target[str]) -> None:
        """See Source."""
        if self._target is not None:
            raise RuntimeError("this source has a target already")
        self._target = target

    def update(self, streams: Mapping[str, StreamSettings]) -> None:
        """Look at these streams from the next step on; those that are left out are unloaded. From any thread."""
        self._streams = dict(streams)

    def step(self) -> None:
        """See StoragePathSource."""
        streams = self._streams
        for name in (*streams, *(self._told.keys() - streams.keys())):
            try:
                sets = self.look(name, streams[name]) if name in streams else ()
                found = {it.stream: it for it in sets}
            except Exception as error:  # noqa: BLE001  # a look of one stream delays no other
                self._report(name, _NOT_KNOWN, error)
                continue
            self._problems.pop((name, _NOT_KNOWN), None)
            self._tell(name, found)

    def start(self) -> None:
        """See StoragePathSource."""
        self._thread = threading.Thread(target=self._run, name="penstock-storage", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """See StoragePathSource."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(self._poll_interval_s)

    def _tell(self, name: str, found: Mapping[str, AspiredVersions]) -> None:
        told = self._told.setdefault(name, {})
        gone = {stream: AspiredVersions(stream, (), told[stream].kind) for stream in told.keys() - found.keys()}
        for stream, record in {**found, **gone}.items():
            try:
                if told.get(stream) != record:
                    self._tell_one(record)
            except Exception as error:  # noqa: BLE001  # neither does one that can not be published
                self._report(stream, _NOT_TOLD, error)
                continue
            self._problems.pop((stream, _NOT_TOLD), None)
            told[stream] = record
            if stream in gone:
                del told[stream]
        if not told:
            del self._told[name]

    def _tell_one(self, record: AspiredVersions) -> None:
        if self._publish is not None:
            self._publish(record)
        if self._target is not None:
            to_target(self._target)(record)
        numbers = ", ".join(str(it.version) for it in record.versions) or "nothing"
        logger.info("servable stream %s aspires to %s", record.stream, numbers)

    def _report(self, stream: str, what: str, error: Exception) -> None:
        """Log a problem unless it is the one that the stream has had since the step before."""
        problem = f"{type(error).__name__}: {error}"
        if self._problems.get((stream, what)) != problem:
            is_expected = isinstance(error, (OSError, PenstockError))
            logger.warning("servable stream %s: %s: %s", stream, what, problem, exc_info=None if is_expected else error)
        self._problems[stream, what] = problem
