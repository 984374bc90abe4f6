"""A storage path source that keeps the contract, and one for each way of breaking it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.settings import StreamSettings
from pipeline.storage.polling import PollingSource


class Listing(PollingSource):
    def look(self, name: str, stream: StreamSettings) -> Iterable[AspiredVersions]:
        numbers = (Path(stream.base_path) / "LIVE").read_text().split()
        versions = tuple(AspiredVersion(int(number), f"{stream.base_path}/{number}") for number in numbers)
        return [AspiredVersions(name, versions, stream.kind)]


class LosesTheKind(Listing):
    def look(self, name, stream):
        return [msgspec.structs.replace(it, kind=None) for it in super().look(name, stream)]


class InventsPaths(Listing):
    def look(self, name, stream):
        [it] = super().look(name, stream)
        return [msgspec.structs.replace(it, versions=tuple(AspiredVersion(v.version, "/nowhere") for v in it.versions))]


class TellsWhatIsNew(Listing):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.seen = {}

    def look(self, name, stream):
        [it] = super().look(name, stream)
        before = self.seen.setdefault(name, set())
        new = tuple(v for v in it.versions if v not in before)
        before.update(new)
        return [msgspec.structs.replace(it, versions=new)] if new else ()


class NeverUnloads(Listing):
    def look(self, name, stream):
        found = super().look(name, stream)
        if not found[0].versions:
            raise ValueError("nothing is live")
        return found


class Flickers(Listing):
    count = 0

    def look(self, name, stream):
        self.count += 1
        return super().look(name, stream) if self.count % 4 < 2 else ()


class UnloadsWhenAway(Listing):
    def look(self, name, stream):
        try:
            return super().look(name, stream)
        except OSError:
            return [AspiredVersions(name, (), stream.kind)]


class RaisesWhenAway(Listing):
    def step(self):
        for name, stream in self._streams.items():
            for record in self.look(name, stream):
                self._publish(record)


class RaisesWhenRefused(Listing):
    def step(self):
        for name, stream in self._streams.items():
            try:
                found = self.look(name, stream)
            except OSError:
                continue
            for record in found:
                self._publish(record)


class ForgetsWhatWasRefused(Listing):
    def __init__(self, streams, publish, **more):
        super().__init__(streams, self.swallow, **more)
        self.accept = publish

    def swallow(self, record):
        try:
            self.accept(record)
        except Exception:  # noqa: BLE001  # that is what is wrong with it
            return


class NeverStarts(Listing):
    def start(self):
        pass


class NeverStops(Listing):
    def start(self):
        base_path = self._streams["a"].base_path

        def run():
            while Path(base_path).exists():
                self.step()
                threading.Event().wait(0.02)

        threading.Thread(target=run, name="endless", daemon=True).start()


class StopsOnlyOnce(Listing):
    def stop(self, timeout_s=5.0):
        if self._stopping.is_set():
            raise RuntimeError("stopped already")
        super().stop(timeout_s)
