"""One servable stream: takes what is aspired and what its loads report, one step at a time, and acts on the policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline.clock import Clock
from pipeline.errors import LoadCancelled, LoadFailed, PenstockError
from pipeline.records import State
from pipeline.registry.harness import Harness
from pipeline.registry.jobs import Jobs
from pipeline.registry.loader import Loader
from pipeline.registry.mailbox import Mailbox
from pipeline.registry.policy import Action, Phase, Verb, VersionSnapshot
from pipeline.registry.rules import Fate, Rules, fate_of, note_on
from pipeline.registry.servable import Servable
from pipeline.registry.snapshot import StreamSnapshot, move_labels, take_snapshot
from pipeline.registry.source import Aspired
from pipeline.registry.states import EventBus
from pipeline.registry.timer import Timer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machinery:
    """What all streams of a manager share."""

    jobs: Jobs
    bus: EventBus
    clock: Clock
    timer: Timer
    max_load_retries: int
    retry_interval_s: float
    retry_failed_after_s: float
    on_idle: Callable[[Stream], None]


class Stream:
    """The versions of one name.

    Everything happens as a step of the mailbox: steps never overlap, none waits for anything, and no lock is held while
    subscribers and policies run. ``snapshot`` may be read from anywhere.
    """

    def __init__(self, name: str, rules: Callable[[str], Rules], machinery: Machinery) -> None:
        self.name = name
        self.snapshot = StreamSnapshot(name)
        self.mailbox = Mailbox(f"servable stream {name}", self._advance, partial(machinery.on_idle, self))
        self._rules_of = rules
        self._rules = rules(name)
        self._shared = machinery
        self._is_still = True
        self._harnesses: dict[tuple[int, int], Harness] = {}  # by version and incarnation
        self._waiting: dict[int, Aspired[Loader]] = {}
        self._labels: Mapping[str, int] = {}
        self._is_forgotten = False
        self._generation = -1
        self._reported: dict[int, str] = {}

    def is_settled(self) -> bool:
        """Whether nothing will change without a new aspiration. Never blocks."""
        # In this order: a step that another thread ends in between has to be seen by its outcome.
        return self.mailbox.is_idle() and self._is_still

    def is_gone(self) -> bool:
        """Whether no version is left in any state, and nothing is on its way. Never blocks."""
        return self.is_settled() and not self._harnesses

    # -- steps from outside -----------------------------------------------------------------------------------------

    def aspire(
        self,
        items: Sequence[Aspired[Loader]],
        labels: Mapping[str, int],
        generation: int,
        *,
        is_forgotten: bool = False,
    ) -> None:
        """Step: replace what is aspired."""
        self._rules = self._rules_of(self.name)
        aspired: dict[int, Aspired[Loader]] = {}
        for item in items:
            if aspired.setdefault(item.id.version, item) is not item:
                logger.warning("%s is aspired twice in one set; the first is taken", item.id)
        for harness in self._harnesses.values():
            if harness.id.version not in aspired and harness.is_aspired:
                harness.is_aspired = False
                harness.item = replace(harness.item, generation=generation)
        self._labels, self._is_forgotten, self._generation = dict(labels), is_forgotten, generation
        self._reported = {}
        self._waiting = {version: item for version, item in aspired.items() if not self._keep(item)}

    def withdraw(self) -> None:
        """Step: aspire to nothing, because the manager is closed; a forgotten stream stays so."""
        self.aspire((), {}, -1, is_forgotten=self._is_forgotten)

    def abandon(self) -> None:
        """Step: publish END for all that has not ended, because nobody will wait for it any longer."""
        for harness in self._harnesses.values():
            self._publish(harness, State.END, LoadCancelled(str(harness.id), "the manager was closed before it ended"))

    def _keep(self, item: Aspired[Loader]) -> bool:
        """Aspire to the incarnation that will do; False where there is none, and another has to be started."""
        lives = self._lives(item.id.version)
        fates = [fate_of(harness.phase, harness.item, item, self._rules.on_change) for harness in lives]
        place = next((place for place, fate in enumerate(fates) if fate is not Fate.IS_REPLACED), None)
        for harness in lives:
            harness.is_aspired = False
        if place is None:
            return False
        kept = lives[place]
        kept.is_aspired = True
        note = note_on(fates[place], kept.item, item)
        if note is not None:
            self._reported[item.id.version] = note
            logger.warning("%s %s", kept.id, note)
        if kept.phase is Phase.CANCELLING:
            kept.phase = Phase.LOADING
        kept.item = replace(kept.item, generation=item.generation)
        return True

    def _lives(self, version: int) -> list[Harness]:
        """Return the incarnations of a version, the newest first."""
        return [h for h in sorted(self._harnesses.values(), key=lambda h: -h.incarnation) if h.id.version == version]

    # -- what the jobs report: each puts a step --------------------------------------------------------------------

    def load_began(self, harness: Harness) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._load_began, harness))

    def load_deferred(self, harness: Harness) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._load_deferred, harness))

    def load_admitted(self, harness: Harness) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._load_admitted, harness))

    def load_ended(self, harness: Harness, servable: Servable, load_ms: int) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._load_ended, harness, servable, load_ms))

    def load_failed(self, harness: Harness, error: PenstockError, load_ms: int, *, is_retriable: bool) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._load_failed, harness, error, load_ms, is_retriable=is_retriable))

    def unload_ended(self, harness: Harness, error: PenstockError | None) -> None:
        """See Outcome."""
        self.mailbox.tell(partial(self._remove, harness, error))

    def _load_began(self, harness: Harness) -> None:
        if harness.phase is not Phase.CANCELLING:
            harness.phase = Phase.LOADING
        if harness.state is State.START:
            self._publish(harness, State.LOADING)

    def _load_deferred(self, harness: Harness) -> None:
        harness.end_load()
        if harness.phase is Phase.CANCELLING:
            self._remove(harness, LoadCancelled(str(harness.id), "no longer aspired while it waited for memory"))
        elif harness.is_admitted:
            harness.is_admitted = False
            self._shared.jobs.submit_load(harness, self)
        else:
            harness.phase = Phase.DEFERRED
            logger.warning("%s waits for memory, it needs %s bytes", harness.id, harness.estimate_bytes)

    def _load_admitted(self, harness: Harness) -> None:
        if harness.phase is Phase.DEFERRED:
            harness.phase = Phase.QUEUED
            self._shared.jobs.submit_load(harness, self)
        else:
            harness.is_admitted = True

    def _load_ended(self, harness: Harness, servable: Servable, load_ms: int) -> None:
        harness.end_load()
        harness.servable, harness.load_ms = servable, load_ms
        if harness.phase is Phase.CANCELLING:
            harness.phase = Phase.UNLOADING
            error = LoadCancelled(str(harness.id), "no longer aspired when its load had finished")
            self._shared.jobs.unload_when_drained(harness, self, error)
            return
        harness.phase = Phase.READY
        self._swap()
        self._publish(harness, State.AVAILABLE)
        logger.info("%s is available after %d ms", harness.id, load_ms)

    def _load_failed(self, harness: Harness, error: PenstockError, load_ms: int, *, is_retriable: bool) -> None:
        harness.end_load()
        harness.load_ms = load_ms
        harness.attempts += 1
        if harness.phase is Phase.CANCELLING:
            self._remove(harness, LoadCancelled(str(harness.id), f"no longer aspired; its load failed too: {error}"))
        elif is_retriable and harness.attempts <= self._shared.max_load_retries:
            delay_s = self._shared.retry_interval_s * 2 ** (harness.attempts - 1)
            logger.warning("%s did not load, next try in %g s: %s", harness.id, delay_s, error)
            harness.phase = Phase.RETRYING
            again = partial(self._shared.jobs.submit_load, harness, self)
            harness.cancel_timer = self._shared.timer.call_later(delay_s, again)
        else:
            loader = harness.loader
            self._fail(harness, error)
            if is_retriable and self._shared.retry_failed_after_s > 0:
                harness.loader = loader
                again = partial(self.mailbox.tell, partial(self._try_again, harness))
                harness.cancel_timer = self._shared.timer.call_later(self._shared.retry_failed_after_s, again)

    def _try_again(self, harness: Harness) -> None:
        """Start a new life of a version that failed for a reason that may have passed, if it is aspired still."""
        if self._harnesses.get((harness.id.version, harness.incarnation)) is harness and harness.is_aspired:
            logger.info("%s is tried again", harness.id)
            harness.is_aspired, harness.cancel_timer = False, None
            self._waiting[harness.id.version] = replace(harness.item, data=harness.loader)

    # -- what a step leads to ---------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._is_still = False
        for harness in tuple(self._harnesses.values()):
            if not harness.is_aspired:
                self._withdraw(harness)
        for version, item in sorted(self._waiting.items()):
            # Beside what is available, after anything else.
            if all(harness.phase is Phase.READY for harness in self._lives(version)):
                del self._waiting[version]
                self._start(item)
        self._swap()
        while (action := self._rules.policy(self._seen())) is not None:
            self._act(action)
            self._swap()
        phases = {harness.phase for harness in self._harnesses.values()}
        self._is_still = phases <= _STILL and not self._waiting

    def _withdraw(self, harness: Harness) -> None:
        """Let an incarnation that is not aspired and not serving go."""
        if harness.phase is Phase.FAILED:
            del self._harnesses[harness.id.version, harness.incarnation]
            if harness.cancel_timer is not None:
                harness.cancel_timer()
            harness.drop()
        elif harness.phase is Phase.LOADING or (harness.phase in _PENDING and not harness.cancel_load()):
            harness.phase = Phase.CANCELLING
        elif harness.phase in _PENDING:
            self._remove(harness, LoadCancelled(str(harness.id), "no longer aspired before it was loaded"))

    def _start(self, item: Aspired[Loader]) -> None:
        version = item.id.version
        incarnation = 1 + max((harness.incarnation for harness in self._lives(version)), default=0)
        harness = self._harnesses[version, incarnation] = Harness(item, incarnation)
        if item.error is not None:
            self._fail(harness, item.error)
        elif item.data is None:
            self._fail(harness, LoadFailed(str(item.id), "aspired with neither data nor an error"))
        else:
            self._publish(harness, State.START)

    def _seen(self) -> tuple[VersionSnapshot, ...]:
        # By the incarnation that answers: one that was loaded anew leaves its old content to nobody.
        behind = [
            self.snapshot.ready.get(v) for label, v in self.snapshot.labels.items() if self._labels.get(label) != v
        ]
        return (
            *(VersionSnapshot(v, h.phase, h.is_aspired, h in behind, n) for (v, n), h in self._harnesses.items()),
            *(VersionSnapshot(v, Phase.WAITING, is_aspired=True) for v in self._waiting),
        )

    def _act(self, action: Action) -> None:
        harness = self._harnesses[action.version, action.incarnation]
        if action.verb is Verb.LOAD and harness.phase is Phase.NEW:
            harness.phase = Phase.QUEUED
            self._shared.jobs.submit_load(harness, self)
        elif action.verb is Verb.UNLOAD and harness.phase is Phase.READY and not harness.is_aspired:
            self._publish(harness, State.UNLOADING)
            harness.phase = Phase.UNLOADING
            self._swap()
            self._shared.jobs.unload_when_drained(harness, self, None)
        else:
            raise RuntimeError(f"the policy of stream {self.name} asked for {action}, which is {harness.phase}")

    # -- ends -------------------------------------------------------------------------------------------------------

    def _fail(self, harness: Harness, error: PenstockError) -> None:
        harness.phase, harness.error = Phase.FAILED, error
        harness.drop()
        logger.error("%s failed: %s", harness.id, error)
        self._publish(harness, State.END, error)

    def _remove(self, harness: Harness, error: PenstockError | None) -> None:
        del self._harnesses[harness.id.version, harness.incarnation]
        self._shared.jobs.forget(harness)
        harness.drop()
        self._swap()
        self._publish(harness, State.END, error)

    def _swap(self) -> None:
        ready = {h.id.version: h for h in self._harnesses.values() if h.phase is Phase.READY}
        aspired = {h.id.version for h in self._harnesses.values() if h.is_aspired}
        labels = move_labels(self._labels, self.snapshot.labels, ready, aspired | self._waiting.keys())
        deferred = {
            h.id.version: f"waits for memory: it needs {h.estimate_bytes} bytes"
            for h in self._harnesses.values()
            if h.phase is Phase.DEFERRED
        }
        self.snapshot = take_snapshot(
            self.name,
            self._harnesses.values(),
            self._waiting,
            labels,
            is_forgotten=self._is_forgotten,
            generation=self._generation,
            notes=tuple(f"{self.name}/{version} {what}" for version, what in {**self._reported, **deferred}.items()),
        )

    def _publish(self, harness: Harness, state: State, error: PenstockError | None = None) -> None:
        if harness.state is State.END:
            return
        harness.state = state
        self._shared.bus.publish(harness.event(error, self._shared.clock.unix_ms()))


_PENDING = (Phase.NEW, Phase.QUEUED, Phase.DEFERRED, Phase.RETRYING)
_STILL = {Phase.READY, Phase.FAILED, Phase.DEFERRED}
