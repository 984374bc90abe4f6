"""Storage path sources of their own: a file ``LIVE`` says which versions are live, a number and its labels a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.settings import StreamSettings
from pipeline.storage.polling import PollingSource

FILE = "LIVE"


def read_live(stream: str, base_path: Path, kind: str | None) -> AspiredVersions:
    """Return what ``LIVE`` in a base path lists: the full set of the stream, and its labels; a dash lists none."""
    lines = [line.split() for line in (base_path / FILE).read_text().splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{base_path / FILE} is empty; it is being written, or a dash is missing")
    lines = [line for line in lines if line != ["-"]]
    versions = tuple(AspiredVersion(int(number), str(base_path / number)) for number, *_ in lines)
    labels = {label: int(number) for number, *labels in lines for label in labels}
    return AspiredVersions(stream, versions, kind, labels)


class LiveSource(PollingSource):
    """One stream a base path."""

    def look(self, name: str, stream: StreamSettings) -> Iterable[AspiredVersions]:
        """See PollingSource."""
        return [read_live(name, Path(stream.base_path), stream.kind)]


class LiveTreeSource(PollingSource):
    """Each directory below a base path that has a file ``LIVE`` is a stream of its own, called as the directory is."""

    def look(self, name: str, stream: StreamSettings) -> Iterable[AspiredVersions]:
        """See PollingSource."""
        folders = sorted(Path(stream.base_path).iterdir())
        return [read_live(it.name, it, stream.kind) for it in folders if (it / FILE).is_file()]
