"""The catalogue of metrics: name, unit, labels, what a bad value means. Observed per batch, never per record."""

from __future__ import annotations

import functools
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

import pipeline
from pipeline.registry.servable import ServableId
from pipeline.serving.circuit import State
from pipeline.serving.pending import Pending, codes_of

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_STATES = (State.CLOSED, State.HALF_OPEN, State.OPEN)


class Metrics:
    """All metrics of one worker, in a registry of its own. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        requests = Counter(
            "penstock_requests",
            "Requests answered, by outcome: ok, or the error's code. Errors that rise with a new "
            "penstock_version_available: roll back.",
            ["route", "outcome"],
            registry=self.registry,
        )
        batch_size = Histogram(
            "penstock_batch_size",
            "Requests that one poll brought. Always at max_batch_size: the worker can not keep up, add workers.",
            ["route"],
            buckets=_SIZES,
            registry=self.registry,
        )
        batch_seconds = Histogram(
            "penstock_batch_seconds",
            "Seconds from taking a batch to handing its answers to the broker's client; most of it is the model.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        in_flight = Gauge(
            "penstock_batches_in_flight",
            "Batches between poll and delivery. At max_batches_in_flight for long: the broker takes no results.",
            ["route"],
            registry=self.registry,
        )

        in_flight_bytes = Gauge(
            "penstock_in_flight_bytes",
            "Bytes of requests, decoded tensors and answers between poll and delivery. Near max_in_flight_bytes: "
            "batches are cut short, raise it if memory allows.",
            ["route"],
            registry=self.registry,
        )
        circuit = Gauge(
            "penstock_circuit_state",
            "Circuit of the route: 0 closed, 1 half-open, 2 open. Not 0: its servable fails every batch, roll back.",
            ["route"],
            registry=self.registry,
        )

        self._predictions = _Predictions()
        self.registry.register(self._predictions)

        # Looking one up takes longer than counting, above all in a worker that was idle.
        self._requests_of = functools.cache(requests.labels)
        self._batch_size_of = functools.cache(batch_size.labels)
        self._batch_seconds_of = functools.cache(batch_seconds.labels)
        self._in_flight_of = functools.cache(in_flight.labels)
        self._in_flight_bytes_of = functools.cache(in_flight_bytes.labels)
        self._circuit_of = functools.cache(circuit.labels)

    def tell_of_worker(self, worker: str, versions: Callable[[], Mapping[str, Iterable[int]]]) -> None:
        """Tell the worker's name too, its process's resources, and the versions that are available when asked."""
        self._predictions.versions = versions
        self.registry.register(_Versions(versions))
        ProcessCollector(registry=self.registry)
        info = Info("penstock_worker", "Name and release of this worker.", registry=self.registry)
        info.info({"worker": worker, "release": pipeline.__version__})

    def taken(self, route: str, size: int) -> None:
        """One batch was polled."""
        self._batch_size_of(route).observe(size)
        self._in_flight_of(route).inc()

    def computed(self, route: str, batch: Sequence[Pending], seconds: float) -> None:
        """One batch has its answers."""
        self._batch_seconds_of(route).observe(seconds)
        codes = codes_of(batch)
        self._requests_of(route, "ok").inc(len(batch) - len(codes))
        for code, count in Tally(codes).items() if codes else ():
            self._requests_of(route, code).inc(count)

    def predicted(self, version: ServableId, answered: int, codes: Sequence[str], seconds: float) -> None:
        """See Predicted."""
        self._predictions.note(version, answered, codes, seconds)

    def delivered(self, route: str) -> None:
        """One batch is accepted by the broker."""
        self._in_flight_of(route).dec()

    def holds(self, route: str, held_bytes: int) -> None:
        """What the batches in flight hold has changed."""
        self._in_flight_bytes_of(route).set(held_bytes)

    def circuit(self, route: str, state: State) -> None:
        """The circuit has changed."""
        self._circuit_of(route).set(_STATES.index(state))


class _Versions(Collector):
    """The versions that are available, asked for at each scrape: those that have gone leave no series behind."""

    def __init__(self, versions: Callable[[], Mapping[str, Iterable[int]]]) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "penstock_version_available",
            "1 for each version that answers here. None of a servable: its requests are answered with not_ready.",
            labels=("servable", "version"),
        )
        for servable, versions in self._versions().items():
            for version in versions:
                family.add_metric((servable, str(version)), 1)
        yield family


class _Predictions(Collector):
    """What each version has answered. One that has gone is told of once more, then it leaves no series behind."""

    def __init__(self) -> None:
        self.versions: Callable[[], Mapping[str, Iterable[int]]] | None = None
        self._lock = threading.Lock()
        self._of: dict[ServableId, _Answered] = {}
        self._gone: set[ServableId] = set()

    def note(self, version: ServableId, answered: int, codes: Sequence[str], seconds: float) -> None:
        """See Predicted."""
        with self._lock:
            so_far = self._of.get(version)
            if so_far is None:
                so_far = self._of[version] = _Answered()
            so_far.note(answered, codes, seconds)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "penstock_predictions",
            "Requests that this version was to answer, by outcome: ok, or the error's code. Errors of the newest "
            "version alone: roll back.",
            labels=("servable", "version", "outcome"),
        )
        seconds = SummaryMetricFamily(
            "penstock_prediction_seconds",
            "Seconds that this version took, and how often it was asked: each time for all requests of a batch that "
            "name it. More of them a request than the version before: it is slower.",
            labels=("servable", "version"),
        )
        with self._lock:
            for version, answered in self._of.items():
                labels = version.name, str(version.version)
                seconds.add_metric(labels, answered.times, answered.seconds)
                for outcome, count in answered.outcomes.items():
                    requests.add_metric((*labels, outcome), count)
            self._forget_gone()
        yield requests
        yield seconds

    def _forget_gone(self) -> None:
        if self.versions is None:
            return
        there = {ServableId(name, version) for name, versions in self.versions().items() for version in versions}
        gone = self._of.keys() - there
        for version in gone & self._gone:
            del self._of[version]
        self._gone = gone - self._gone


class _Answered:
    """The sums of one version."""

    def __init__(self) -> None:
        self.times = 0
        self.seconds = 0.0
        self.outcomes: Tally[str] = Tally(ok=0)

    def note(self, answered: int, codes: Sequence[str], seconds: float) -> None:
        self.times += 1
        self.seconds += seconds
        self.outcomes["ok"] += answered
        if codes:
            self.outcomes.update(codes)
