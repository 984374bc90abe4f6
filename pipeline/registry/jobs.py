"""What runs on the load pool and on the unload pool, and how its outcome comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from pipeline.clock import Clock
from pipeline.errors import InsufficientMemory, LoadFailed, PenstockError
from pipeline.registry.budget import Budget, Verdict
from pipeline.registry.harness import Harness
from pipeline.registry.loader import Loader, elsewhere_bytes, kind_of
from pipeline.registry.servable import Description, Servable, describe

logger = logging.getLogger(__name__)


class Outcome(Protocol):
    """Takes what a job has to say, on the pool's thread; must not block and must not raise."""

    def load_began(self, harness: Harness) -> None:
        """The load of this incarnation is running."""

    def load_deferred(self, harness: Harness) -> None:
        """It does not fit into the budget now, and did not begin."""

    def load_admitted(self, harness: Harness) -> None:
        """A load that was deferred fits now, and is to be submitted again; may overtake ``load_deferred``."""

    def load_ended(self, harness: Harness, servable: Servable, load_ms: int) -> None:
        """It returned a servable."""

    def load_failed(self, harness: Harness, error: PenstockError, load_ms: int, *, is_retriable: bool) -> None:
        """It raised."""

    def unload_ended(self, harness: Harness, error: PenstockError | None) -> None:
        """The version is unloaded; ``error`` is how its life ended."""


class Jobs:
    """Submits loads and unloads to their pools.

    Unloads have a pool of their own, so none waits behind a load. A load begins when its estimate fits into the budget;
    one that has to wait for that occupies no thread. ``measure`` returns the bytes that the process has resident;
    ``give_back`` is called after each load and unload, for the memory that they leave behind.
    """

    def __init__(
        self,
        load_pool: Executor,
        unload_pool: Executor,
        clock: Clock,
        budget: Budget,
        measure: Callable[[], int | None],
        give_back: Callable[[], None],
    ) -> None:
        self._load_pool = load_pool
        self._unload_pool = unload_pool
        self._clock = clock
        self._budget = budget
        self._measure = measure
        self._give_back = give_back

    def submit_load(self, harness: Harness, outcome: Outcome) -> None:
        """Load on the load pool; a pool that is shut down fails the load."""
        try:
            harness.future = self._load_pool.submit(self._load, harness, outcome)
        except RuntimeError as error:
            refused = LoadFailed(str(harness.id), f"the load pool takes no work: {error}")
            self._budget.release(harness)
            outcome.load_failed(harness, refused, 0, is_retriable=False)

    def forget(self, harness: Harness) -> None:
        """Give back what a load that will never begin has reserved, or its place among those that wait."""
        self._budget.release(harness)

    def unload_when_drained(self, harness: Harness, outcome: Outcome, error: PenstockError | None) -> None:
        """Refuse handles from now on, and unload on the unload pool as soon as none is held."""
        job = partial(self._unload, harness, outcome, error)

        def on_drained() -> None:
            try:
                self._unload_pool.submit(job)
            except RuntimeError:
                # The pool is shut down. The memory must be freed all the same, and not by whoever gave a handle back.
                threading.Thread(target=job, name="penstock-unload").start()

        harness.refuse_handles(on_drained)

    def _load(self, harness: Harness, outcome: Outcome) -> None:
        loader = harness.begin_load()
        if loader is None:
            return
        start_s = self._clock.monotonic_s()
        report: Callable[[int], None]
        try:
            if not self._reserve(harness, loader, outcome):
                outcome.load_deferred(harness)
                return
            outcome.load_began(harness)
            before_bytes = self._measure()
            servable = _checked(loader.load())
            self._give_back()
            self._account(harness, loader, before_bytes)
            harness.kind = kind_of(loader) or harness.kind
            harness.description = _described(harness, servable)
            report = partial(outcome.load_ended, harness, servable)
        except BaseException as error:  # noqa: BLE001  # whatever a model's code raises is this version's problem alone
            self._budget.release(harness)
            is_retriable = isinstance(error, OSError) or (isinstance(error, PenstockError) and error.retriable)
            ours = _as_ours(harness, error)
            report = partial(_fail, outcome, harness, ours, is_retriable)
            self._give_back()
        report(round((self._clock.monotonic_s() - start_s) * 1000))

    def _reserve(self, harness: Harness, loader: Loader, outcome: Outcome) -> bool:
        """Return whether the load may begin; False: it waits. Raises InsufficientMemory when it is refused."""
        harness.estimate_bytes = loader.estimate_bytes()
        if harness.estimate_bytes is None:
            return True
        verdict = self._budget.reserve(harness, harness.estimate_bytes, partial(self._tell_admitted, harness, outcome))
        if verdict is Verdict.REFUSED:
            reserved = self._budget.reserved_bytes
            raise InsufficientMemory(str(harness.id), harness.estimate_bytes, reserved, self._budget.limit_bytes)
        return verdict is Verdict.ADMITTED

    def _tell_admitted(self, harness: Harness, outcome: Outcome) -> None:
        """Say it on the load pool: whoever gave the memory back is busy with a stream of its own."""
        try:
            self._load_pool.submit(outcome.load_admitted, harness)
        except RuntimeError:
            outcome.load_admitted(harness)  # the pool is shut down; submitting the load will say so

    def _account(self, harness: Harness, loader: Loader, before_bytes: int | None) -> None:
        harness.memory_bytes = elsewhere_bytes(loader)
        after_bytes = self._measure()
        if harness.memory_bytes is None and before_bytes is not None and after_bytes is not None:
            harness.memory_bytes = max(0, after_bytes - before_bytes)
        try:
            estimate_bytes = loader.estimate_bytes()
        except Exception:
            logger.exception("%s: its loader raised after the load, when asked for its estimate", harness.id)
            return
        if estimate_bytes is not None:
            harness.estimate_bytes = estimate_bytes
            self._budget.reduce(harness, estimate_bytes)

    def _unload(self, harness: Harness, outcome: Outcome, error: PenstockError | None) -> None:
        harness.servable = None
        loader, harness.loader = harness.loader, None
        try:
            if loader is not None:
                loader.unload()
        except BaseException as failure:  # noqa: BLE001  # as above
            error = _as_ours(harness, failure)
        del loader
        self._give_back()
        self._budget.release(harness)
        outcome.unload_ended(harness, error)


def _fail(outcome: Outcome, harness: Harness, error: PenstockError, is_retriable: bool, load_ms: int) -> None:  # noqa: FBT001  # a value that is passed on
    outcome.load_failed(harness, error, load_ms, is_retriable=is_retriable)


def _checked(servable: Servable) -> Servable:
    if not hasattr(servable, "predict"):
        raise TypeError(f"load() returned {servable!r}, which is no servable")
    return servable


def _described(harness: Harness, servable: Servable) -> Description | None:
    """Return its description; one that can not be written is logged, and the version serves without."""
    try:
        return describe(servable)
    except Exception:
        logger.exception("%s: its servable describes itself in what no record can hold", harness.id)
        return None


def _as_ours(harness: Harness, error: BaseException) -> PenstockError:
    """Return an error of the tree that holds no frame, and so keeps no loader alive."""
    if isinstance(error, PenstockError):
        return error.without_frames()
    logger.error("%s: its loader raised", harness.id, exc_info=error)
    return LoadFailed(str(harness.id), f"{type(error).__name__}: {error}")
