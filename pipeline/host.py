"""The service that a worker runs beside its agents: it follows the aspirations, starts the routes, and drains them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import mode

from pipeline import circuits
from pipeline.agents import RequestChannel, Route
from pipeline.clock import Clock
from pipeline.control.aspired import AspiredFollower
from pipeline.control.logs import logs_of
from pipeline.control.source_publisher import SourcePublisher
from pipeline.control.topic_check import TopicCheck
from pipeline.errors import PluginError, WrongTopic
from pipeline.records import AspiredVersions, State
from pipeline.registry import policy
from pipeline.registry.budget import Budget, WhenShort
from pipeline.registry.heap import keep_large_blocks
from pipeline.registry.load_pool import LoadPool
from pipeline.registry.manager import Manager
from pipeline.registry.rules import OnChange, Rules
from pipeline.registry.states import EventBus, VersionState
from pipeline.reporting import Reporter
from pipeline.rollout import RollOut
from pipeline.settings import BatchingSettings, Settings
from pipeline.settings_file import SettingsFile, need_restart, take_servables
from pipeline.storage.sources import Sources

log = logging.getLogger(__name__)

_CHECK_S: Final = 0.05
_SETTINGS_S: Final = 1.0
_TOPICS_S: Final = 1.0
_CRASHED_BUDGET_S: Final = 1.0
# For unloads, and for publishing them, whatever the requests in flight have left.
_LEAST_S: Final = 3.0
# Of CPython's 700: the thousands of tuples of a batch go with it, and looking for cycles among them took a tenth of a
# busy worker's time.
_ALLOCATIONS_BETWEEN_COLLECTIONS: Final = 50_000


class Registry:
    """The manager of one worker with its pools, and the way its transitions go to the states topic."""

    def __init__(self, settings: Settings, worker_id: str, clock: Clock) -> None:
        keep_large_blocks()
        self._settings = settings
        self._loads = LoadPool(settings.worker.load_threads, settings.worker.load_niceness)
        self._unloads = ThreadPoolExecutor(1, "penstock-unload")
        self.bus = EventBus()
        worker = settings.worker
        self.manager = Manager(
            policy.availability_preserving,
            self._loads,
            self._unloads,
            self.bus,
            clock,
            max_load_retries=worker.max_load_retries,
            retry_interval_s=worker.load_retry_interval_s,
            retry_failed_after_s=worker.retry_failed_after_s,
            rules=self._rules_of,
            budget=Budget(worker.memory_limit_bytes, WhenShort(worker.when_memory_is_short)),
        )
        self.rollout = RollOut(settings, self.manager)
        self.reporter = Reporter(settings, worker_id, self.manager, self.bus, clock)
        self.worker_id = worker_id

    def _rules_of(self, stream: str) -> Rules:
        set_ = self._settings.servables.get(stream)
        if set_ is None:  # it has been removed, and is being forgotten
            return Rules(policy.availability_preserving)
        return Rules(getattr(policy, set_.transition), OnChange(set_.on_change))

    def batching_of(self, stream: str) -> BatchingSettings:
        """Return how requests of a stream are batched now. From any thread."""
        return self.rollout.batching_of(stream)

    def update(self, settings: Settings) -> None:
        """Serve the streams of other settings from now on. Not for an event loop: it may wait for a lock."""
        self._settings = settings
        added, removed = self.rollout.update(settings)
        self.reporter.update(settings)
        log.info("the settings have changed: added %s, removed %s", ", ".join(added) or "-", ", ".join(removed) or "-")

    def aspire(self, record: AspiredVersions, generation: int) -> None:
        """Take up the aspiration of one record. Called on the follower's thread."""
        self.rollout.aspire(record, generation)
        if record.stream in self._settings.servables:
            self.reporter.taken_up(record.stream, generation)

    def forget(self, stream: str, generation: int) -> None:
        """Take up a tombstone. Called on the follower's thread."""
        self.rollout.forget(stream, generation)
        if stream in self._settings.servables:
            self.reporter.taken_up(stream, generation)

    def versions(self) -> Mapping[str, list[int]]:
        """Return the versions that are available now, by stream."""
        found: dict[str, list[int]] = {name: [] for name in self.manager.streams()}
        for id_ in self.manager.available():
            found.setdefault(id_.name, []).append(id_.version)
        return found

    def prepare(self) -> Future[None]:
        """Import the frameworks that the settings name, on the load pool; done when requests can be taken beside."""
        return self._loads.submit(self.rollout.prepare)

    def let_loads_give_way(self) -> None:
        """Lower the priority of the loads to come: from now on requests are answered beside them."""
        self._loads.give_way()

    def close(self, timeout_s: float) -> None:
        """Unload everything, publish each END, and wait until the states topic has them."""
        deadline_s, least_s = time.monotonic() + timeout_s, min(_LEAST_S, timeout_s)
        for left in self.manager.close(timeout_s):
            log.warning("%s is still in use and was left loaded", left)
        self._loads.shutdown(wait=False, cancel_futures=True)
        # What does not end in time would hold up the end of the process, for as long as a thousand unloads take.
        self._unloads.shutdown(wait=False, cancel_futures=True)
        self.rollout.close()
        self.reporter.close(max(least_s, deadline_s - time.monotonic()))


class WorkerService(mode.Service):
    """Starts before the agents, and outlives them. The process is its own: cyclic garbage is looked for less often.

    A route takes requests when the worker has caught up with the aspirations and can answer them.
    ``drain`` stops in the order in which nothing is lost.
    """

    def __init__(
        self,
        app: Any,  # faust.App is generic in ways that its own annotations do not follow
        settings: Settings,
        registry: Registry,
        routes: Mapping[str, tuple[Route, RequestChannel]],
        *,
        is_watching: bool,
        settings_file: SettingsFile | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._settings = settings
        self._settings_file = settings_file
        self._registry = registry
        self._routes = routes
        self._is_watching = is_watching
        self._follower: AspiredFollower | None = None
        self._source: Sources | None = None
        self._publisher: SourcePublisher | None = None
        self._prepared: Future[None] | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False
        self._has_crashed = False

    @property
    def unready(self) -> Mapping[str, str]:
        """Why a route can not answer now, by route; empty where all can."""
        reasons = {name: self._why_unready(route) for name, (route, _) in self._routes.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    def _why_unready(self, route: Route) -> str:
        if self._is_draining:
            return "the worker stops"
        servable = route.settings.servable
        snapshot = self._registry.manager.snapshot(servable)
        if snapshot is None or not snapshot.ready:
            return f"no version of {servable} is available"
        if route.takes_requests:
            return ""
        return "its circuit is open" if route.is_started else "it has not started yet"

    @property
    def open_circuits(self) -> Mapping[str, str]:
        """What is to be said of each circuit that is not closed, by route."""
        found = {name: circuits.text(name, route.settings, route.standing) for name, (route, _) in self._routes.items()}
        return {name: text for name, text in found.items() if text}

    async def on_start(self) -> None:
        """Follow the aspirations, and look for versions where this worker is its own watcher."""
        self._event_loop = asyncio.get_running_loop()
        gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
        # Nobody else does where Faust's own Kafka is off, and every channel would wait for ever.
        self._app.flow_control.resume()
        settings, registry = self._settings, self._registry
        registry.reporter.start()
        registry.bus.subscribe(self._on_transition)
        self._prepared = registry.prepare()
        self._follower = AspiredFollower(
            logs_of(settings),
            settings.control.aspired_topic,
            registry.worker_id,
            on_aspired=registry.aspire,
            on_forgotten=registry.forget,
            on_fatal=self.crash_worker,
        )
        self._follower.start()
        if self._is_watching:
            self._publisher = SourcePublisher(settings, registry.worker_id, on_fatal=self.crash_worker)
            self._publisher.start()
            self._source = Sources(settings, self._publisher)
            self._source.start()

    @mode.Service.task
    async def _start_routes(self) -> None:
        waiting = dict(self._routes)
        while waiting and not self.should_stop and not self._is_draining:
            for name, (route, channel) in list(waiting.items()):
                if self._can_answer(route.settings.servable) and route.is_prepared():
                    self._registry.let_loads_give_way()
                    route.start(channel.feed, asyncio.get_running_loop(), self.crash_worker)
                    log.info("route %s answers %s", name, route.settings.request_topic)
                    del waiting[name]
            await self.sleep(_CHECK_S)
        if not waiting:
            log.info("ready: all routes take requests")

    @mode.Service.task
    async def _check_topics(self) -> None:
        """Beside everything else: a broker that is away must not hold up what can go on without it."""
        check = TopicCheck(self._settings)
        while not self.should_stop and not self._is_draining:
            try:
                if await asyncio.to_thread(check.step):
                    return
            except WrongTopic as error:
                self.crash_worker(error)
                return
            await self.sleep(_TOPICS_S)

    @mode.Service.task
    async def _follow_settings(self) -> None:
        file = self._settings_file
        while file is not None and not self.should_stop and not self._is_draining:
            found = await asyncio.to_thread(file.poll)
            if found is not None:
                await asyncio.to_thread(self._take_up, found)
            await self.sleep(_SETTINGS_S)

    def _take_up(self, found: Settings) -> None:
        fixed = need_restart(self._settings, found)
        if fixed:
            log.warning("the settings have changed in %s too; that takes a restart", ", ".join(fixed))
        settings = take_servables(self._settings, found)
        if settings == self._settings:
            return
        if self._source is not None:
            try:
                self._source.update(settings)
            except PluginError as error:
                log.error("the streams stay as they were: %s", error)  # noqa: TRY400  # the reason is enough
                return
        self._settings = settings
        self._registry.update(settings)

    def _on_transition(self, event: VersionState) -> None:
        if event.state is State.AVAILABLE:
            for route, _ in self._routes.values():
                if route.settings.servable == event.id.name:
                    route.close_circuit()

    def _can_answer(self, servable: str) -> bool:
        """Whether this worker should share in the requests: one that can not answer leaves them to others."""
        follower, manager = self._follower, self._registry.manager
        if follower is None or not follower.caught_up.is_set():
            return False
        if self._prepared is None or not self._prepared.done():
            return False
        snapshot = manager.snapshot(servable)
        return snapshot is not None and bool(snapshot.ready) and manager.is_settled(servable)

    def crash_worker(self, error: BaseException) -> None:
        """Take the worker down with a non-zero exit; from any thread. What is unacknowledged is delivered again."""
        self._has_crashed = True
        log.critical("the worker stops: %s: %s", type(error).__name__, error)
        if self._event_loop is not None:
            app = self._app
            with contextlib.suppress(RuntimeError):  # the loop has closed: the worker is gone already
                self._event_loop.call_soon_threadsafe(lambda: asyncio.ensure_future(app.crash(error)))

    async def drain(self) -> None:
        """Stop polling, finish, deliver, commit, leave the groups, unload and publish END.

        In ``drain_timeout_s``, and some seconds more where nothing ends by itself. The agents are still running.
        """
        if self._is_draining:
            return
        self._is_draining = True
        # After a crash nobody answers any more: what is in flight is delivered again.
        budget_s = _CRASHED_BUDGET_S if self._has_crashed else self._settings.worker.drain_timeout_s
        routes = [route for route, _ in self._routes.values()]
        deadline_s = time.monotonic() + budget_s
        for route in routes:
            route.begin_to_stop()
        loop = asyncio.get_running_loop()
        # All at once: to_thread has only a few threads.
        pool = ThreadPoolExecutor(max(1, len(routes)), "penstock-drain")
        stopped = await asyncio.gather(*[loop.run_in_executor(pool, route.stop, budget_s) for route in routes])
        pool.shutdown(wait=False)
        for name, is_empty in zip(self._routes, stopped, strict=True):
            if not is_empty:
                log.warning("route %s was not done within %g s; its last requests are delivered again", name, budget_s)
        if self._source is not None:
            await asyncio.to_thread(self._source.stop)
        if self._publisher is not None:
            await asyncio.to_thread(self._publisher.stop)
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        await asyncio.to_thread(self._registry.close, max(min(_LEAST_S, budget_s), deadline_s - time.monotonic()))
