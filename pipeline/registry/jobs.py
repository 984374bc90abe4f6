"""What runs on the load pool and on the unload pool, and how its outcome comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from pipeline.clock import Clock
from pipeline.errors import LoadFailed, PenstockError
from pipeline.registry.harness import Harness
from pipeline.registry.servable import Servable

logger = logging.getLogger(__name__)


class Outcome(Protocol):
    """Takes what a job has to say, on the pool's thread; must not block and must not raise."""

    def load_began(self, harness: Harness) -> None:
        """The load of this incarnation is running."""

    def load_ended(self, harness: Harness, servable: Servable, load_ms: int) -> None:
        """It returned a servable."""

    def load_failed(self, harness: Harness, error: PenstockError, load_ms: int, *, is_retriable: bool) -> None:
        """It raised."""

    def unload_ended(self, harness: Harness, error: PenstockError | None) -> None:
        """The version is unloaded; ``error`` is how its life ended."""


class Jobs:
    """Submits loads and unloads to their pools."""

    def __init__(self, load_pool: Executor, unload_pool: Executor, clock: Clock) -> None:
        self._load_pool = load_pool
        self._unload_pool = unload_pool
        self._clock = clock

    def submit_load(self, harness: Harness, outcome: Outcome) -> None:
        """Load on the load pool; a pool that is shut down fails the load."""
        try:
            harness.future = self._load_pool.submit(self._load, harness, outcome)
        except RuntimeError as error:
            refused = LoadFailed(str(harness.id), f"the load pool takes no work: {error}")
            outcome.load_failed(harness, refused, 0, is_retriable=False)

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
        outcome.load_began(harness)
        start_s = self._clock.monotonic_s()
        report: Callable[[int], None]
        try:
            report = partial(outcome.load_ended, harness, _checked(loader.load()))
        except BaseException as error:  # noqa: BLE001  # whatever a model's code raises is this version's problem alone
            is_retriable = isinstance(error, OSError) or (isinstance(error, PenstockError) and error.retriable)
            ours = _as_ours(harness, error)
            report = partial(_fail, outcome, harness, ours, is_retriable)
        finally:
            harness.end_load()
        report(round((self._clock.monotonic_s() - start_s) * 1000))

    def _unload(self, harness: Harness, outcome: Outcome, error: PenstockError | None) -> None:
        harness.servable = None
        loader, harness.loader = harness.loader, None
        try:
            if loader is not None:
                loader.unload()
        except BaseException as failure:  # noqa: BLE001  # as above
            error = _as_ours(harness, failure)
        del loader
        outcome.unload_ended(harness, error)


def _fail(outcome: Outcome, harness: Harness, error: PenstockError, is_retriable: bool, load_ms: int) -> None:  # noqa: FBT001  # a value that is passed on
    outcome.load_failed(harness, error, load_ms, is_retriable=is_retriable)


def _checked(servable: Servable) -> Servable:
    if not hasattr(servable, "predict"):
        raise TypeError(f"load() returned {servable!r}, which is no servable")
    return servable


def _as_ours(harness: Harness, error: BaseException) -> PenstockError:
    """Return an error of the tree that holds no frame, and so keeps no loader alive."""
    if isinstance(error, PenstockError):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    logger.error("%s: its loader raised", harness.id, exc_info=error)
    return LoadFailed(str(harness.id), f"{type(error).__name__}: {error}")
