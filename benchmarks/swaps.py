"""What a swap does to the requests that are due meanwhile: pure functions over what the load and the worker say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Seen:
    """One request of the steady load: when it was due, how long its answer took, which version gave it."""

    due_s: float
    took_ms: float
    version: int


@dataclass(frozen=True)
class Window:
    """A stretch of time, in seconds since the Unix epoch, its end not included."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Latency:
    """The answers to the requests that were due in a window."""

    requests: int
    p50_ms: float
    p99_ms: float
    highest_ms: float


@dataclass(frozen=True)
class Swap:
    """One swap: before it, while the version is found and digested, from its aspiration until all is done, after it."""

    before: Latency
    finding: Latency
    during: Latency
    after: Latency
    duration_s: float
    answered_by: Mapping[int, int]

    @property
    def ratio(self) -> float:
        """What the swap does to p99."""
        return self.during.p99_ms / self.before.p99_ms


def seen(load: Mapping[str, Sequence[Any]]) -> list[Seen]:
    """Return the requests of what ``benchmarks.steady`` wrote that a version answered; all are accounted by id."""
    rows = zip(load["due_s"], load["took_ms"], load["versions"], strict=True)
    return [Seen(due_s, took_ms, version) for due_s, took_ms, version in rows if version is not None]


def latency(requests: Iterable[Seen], window: Window) -> Latency:
    """Return the figures of a window; raises ValueError where no answered request was due in it."""
    took_ms = [one.took_ms for one in requests if window.start_s <= one.due_s < window.end_s]
    if not took_ms:
        raise ValueError(f"no request was due in the {window.end_s - window.start_s:.3f} s of a window")
    p50_ms, p99_ms, highest_ms = (figures.percentile(took_ms, percent) for percent in (50, 99, 100))
    return Latency(len(took_ms), p50_ms, p99_ms, highest_ms)


def by_version(requests: Iterable[Seen], window: Window) -> dict[int, int]:
    """Return how many requests that were due in the window each version answered."""
    versions = Counter(one.version for one in requests if window.start_s <= one.due_s < window.end_s)
    return dict(sorted(versions.items()))


def going_on(states: Iterable[Mapping[str, Any]], stream: str, version: int) -> Window:
    """Return when the swap to a version of a stream went on: from its START until it and every older one is settled.

    ``states``: ServableState records. An older version is settled with its END; the new one when it is AVAILABLE.
    """
    of_stream = [state for state in states if state["stream"] == stream]
    at_s = {(state["version"], state["state"]): state["at_ms"] / 1000 for state in of_stream}
    ends_s = [ended_s for (older, state), ended_s in at_s.items() if older < version and state == "END"]
    return Window(at_s[version, "START"], max(at_s[version, "AVAILABLE"], *ends_s, 0.0))
