"""The section ``servables``: where the versions of a stream lie, and how they are loaded and asked."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Scalar, Section
from pipeline.settings.watch import check_intervals


class VersionPolicy(Section, frozen=True):
    """Which of the versions found in storage are aspired: the latest N, all, or exactly the listed ones."""

    latest: int = 1
    all: bool = False
    specific: tuple[int, ...] | None = None


class WarmUpSettings(Section, frozen=True):
    """What the requests in a version's ``warm-up.avro`` decide; a golden one that fails always fails the version."""

    on_error: str = "fail"
    required: bool = False


class BatchingSettings(Section, frozen=True):
    """How requests are joined into calls of a servable; docs/batching.md. 0 for ``max_rows`` is no limit."""

    allowed_batch_sizes: tuple[int, ...] = ()
    max_rows: int = 0
    unbatched: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    variable_length: str = "group"
    pad_value: Scalar | dict[str, Scalar] = 0
    pad_to_multiple_of: int = 1
    mask: str = ""


class StreamSettings(Section, frozen=True):
    """One servable stream: where its versions lie, and how they are loaded.

    A ``storage`` that is left empty is ``fsspec`` where the base path is a URI, else ``file``. Without ``isolation``
    the kind says for each version which it is. ``processes`` and ``predict_timeout_s`` count where it is ``process``.
    """

    base_path: str
    storage: str = ""
    kind: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    versions: VersionPolicy = VersionPolicy()
    complete_when: str = "quiet"
    marker: str = "_SUCCESS"
    manifest: str = "SHA256SUMS"
    quiet_period_s: float | None = None
    poll_interval_s: float | None = None
    keep_last: bool = False
    transition: str = "availability_preserving"
    on_change: str = "report"
    isolation: str | None = None
    processes: int = 1
    predict_timeout_s: float = 60.0
    warm_up: WarmUpSettings = WarmUpSettings()
    batching: BatchingSettings = BatchingSettings()


def check_stream(stream: StreamSettings, place: str) -> None:
    """Raise InvalidSettings for what is out of range."""
    if stream.transition not in ("availability_preserving", "resource_preserving"):
        reason = f"{stream.transition!r} is not availability_preserving or resource_preserving"
        raise InvalidSettings(f"{place}.transition", reason)
    if stream.on_change not in ("report", "reload"):
        raise InvalidSettings(f"{place}.on_change", f"{stream.on_change!r} is not report or reload")
    if stream.warm_up.on_error not in ("fail", "ignore"):
        raise InvalidSettings(f"{place}.warm_up.on_error", f"{stream.warm_up.on_error!r} is not fail or ignore")
    if stream.versions.latest < 1:
        raise InvalidSettings(f"{place}.versions.latest", "must be at least 1")
    _check_storage(stream, place)
    _check_batching(stream.batching, f"{place}.batching")
    _check_isolation(stream, place)


def _check_storage(stream: StreamSettings, place: str) -> None:
    if stream.complete_when not in ("quiet", "marker", "manifest"):
        raise InvalidSettings(f"{place}.complete_when", f"{stream.complete_when!r} is not quiet, marker or manifest")
    for field in ("marker", "manifest"):
        name = getattr(stream, field)
        if not name or "/" in name or name in (".", ".."):
            raise InvalidSettings(f"{place}.{field}", f"{name!r} is not the name of a file in a version directory")
    check_intervals(stream.quiet_period_s, stream.poll_interval_s, place)
    for version in stream.versions.specific or ():
        if not 0 <= version < 2**63:
            raise InvalidSettings(f"{place}.versions.specific", f"{version} is not a version; from 0 to 2^63 - 1")


def _check_batching(batching: BatchingSettings, place: str) -> None:
    sizes = batching.allowed_batch_sizes
    if any(size < 1 for size in sizes) or any(one >= next_ for one, next_ in itertools.pairwise(sizes)):
        raise InvalidSettings(f"{place}.allowed_batch_sizes", f"{list(sizes)} do not increase from 1 or more")
    if batching.max_rows < 0:
        raise InvalidSettings(f"{place}.max_rows", f"must not be negative, got {batching.max_rows}")
    if sizes and 0 < batching.max_rows < sizes[-1]:
        reason = f"{sizes[-1]} is more than max_rows, which is {batching.max_rows}; leave one of them out"
        raise InvalidSettings(f"{place}.allowed_batch_sizes", reason)
    if batching.variable_length not in ("group", "pad"):
        raise InvalidSettings(f"{place}.variable_length", f"{batching.variable_length!r} is not group or pad")
    if batching.pad_to_multiple_of < 1:
        raise InvalidSettings(f"{place}.pad_to_multiple_of", f"must be at least 1, got {batching.pad_to_multiple_of}")
    if batching.variable_length != "pad":
        for field in ("pad_to_multiple_of", "pad_value"):
            if getattr(batching, field) != getattr(BatchingSettings(), field):
                raise InvalidSettings(f"{place}.{field}", "has no effect without variable_length: pad; set that, too")


def _check_isolation(stream: StreamSettings, place: str) -> None:
    if stream.isolation not in (None, "thread", "process"):
        raise InvalidSettings(f"{place}.isolation", f"{stream.isolation!r} is not thread or process")
    if stream.processes < 0:
        raise InvalidSettings(f"{place}.processes", f"must not be negative, got {stream.processes}; 0 is one per core")
    if stream.predict_timeout_s <= 0:
        raise InvalidSettings(f"{place}.predict_timeout_s", f"must be above 0, got {stream.predict_timeout_s:g}")
