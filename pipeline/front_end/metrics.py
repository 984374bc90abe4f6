"""The metrics of a front end: name, unit, labels, what a bad value means."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)


class FrontEndMetrics:
    """All metrics of one front end, in a registry of its own. Thread-safe."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        """``in_flight`` returns how many instances are being answered."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "penstock_front_end_requests",
            "Predict requests over HTTP, by status. 503 or 504 that rise: workers or the broker are away, or too slow.",
            ["status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "penstock_front_end_seconds",
            "Seconds from the head of a predict request to its answer. Near the timeout: add workers.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        gauge = Gauge(
            "penstock_front_end_in_flight",
            "Instances that wait for their answers. At max-in-flight: more are refused, add workers.",
            registry=self.registry,
        )
        gauge.set_function(in_flight)

    def answered(self, status: int, seconds: float) -> None:
        """One predict request has its answer."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)
