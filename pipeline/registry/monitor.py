"""The state monitor: where every version stands, what happened lately, and whoever waits for a state."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pipeline.records import State
from pipeline.registry.servable import ServableId
from pipeline.registry.states import EventBus, VersionState

# Which versions a waiter wants: one exact version, or any version of a stream.
Wanted = ServableId | str
# Called once with what each wish came to, by the wish; see StateMonitor.notify.
Reached = Callable[[Mapping[Wanted, bool]], None]

_ORDER: Final = tuple(State)


class StateMonitor:
    """Subscribes to an event bus when it is made, so it knows what has happened since.

    Any thread may ask. ``max_ended`` versions that have ended are remembered per stream, those that ended first are
    forgotten first; ``max_events`` is the length of the log. Of a version with two incarnations the one that is not
    ended counts, and of two such the newer.
    """

    def __init__(self, bus: EventBus, *, max_ended: int = 100, max_events: int = 0) -> None:
        self._max_ended = max_ended
        self._lock = threading.Lock()
        self._streams: dict[str, dict[tuple[int, int], VersionState]] = {}
        self._log: deque[VersionState] = deque(maxlen=max_events)
        self._waiters: list[_Waiter] = []
        self.close = bus.subscribe(self._on_event)
        """Hear no more; what is known stays."""

    def state(self, id: ServableId) -> VersionState | None:  # noqa: A002  # TF Serving's word
        """Return the last state of a version, None for one that is not known, or forgotten."""
        return self.versions(id.name).get(id.version)

    def versions(self, stream: str) -> dict[int, VersionState]:
        """Return the last state of each version of a stream, the highest version first."""
        with self._lock:
            return _by_version(self._streams.get(stream, {}))

    def streams(self) -> dict[str, dict[int, VersionState]]:
        """Return the last state of each version of all streams."""
        with self._lock:
            return {name: _by_version(lives) for name, lives in sorted(self._streams.items())}

    def live(self) -> dict[str, dict[int, VersionState]]:
        """Return what ``streams`` does, without what has ended."""
        kept = {
            name: {version: state for version, state in versions.items() if state.state is not State.END}
            for name, versions in self.streams().items()
        }
        return {name: versions for name, versions in kept.items() if versions}

    def available(self) -> frozenset[ServableId]:
        """Return the versions that are available."""
        return frozenset(
            state.id
            for versions in self.streams().values()
            for state in versions.values()
            if state.state is State.AVAILABLE
        )

    def log(self) -> tuple[VersionState, ...]:
        """Return the last events, the oldest first; none where ``max_events`` is 0."""
        with self._lock:
            return tuple(self._log)

    def forget_ended(self) -> None:
        """Forget every version that has ended."""
        with self._lock:
            for name, lives in list(self._streams.items()):
                self._streams[name] = {key: state for key, state in lives.items() if state.state is not State.END}
                if not self._streams[name]:
                    del self._streams[name]

    def notify(self, wanted: Iterable[Wanted], goal: State, reached: Reached) -> Callable[[], None]:
        """Call ``reached`` once, when each wish is fulfilled or can not be any more; return what cancels it.

        A wish is fulfilled by a version that has the goal, and fails by one that has ended instead (or gone past it);
        a wish for any version of a stream fails when all versions that are known of it have. Called at once where that
        is so already, else on the thread of the event that decides. It must be quick and must not raise.
        """
        waiter = _Waiter(tuple(wanted), goal, reached)
        with self._lock:
            self._waiters.append(waiter)
        self._tell()
        return lambda: self._cancel(waiter)

    def wait(self, wanted: Iterable[Wanted], goal: State, timeout_s: float) -> dict[Wanted, bool]:
        """Wait until each wish is fulfilled (True) or can not be any more (False); after the timeout, without the rest.

        Not for an event loop, nor for a subscriber of the bus. Leaves nothing registered.
        """
        wishes = tuple(wanted)
        done = threading.Event()
        cancel = self.notify(wishes, goal, lambda _: done.set())
        done.wait(timeout_s)
        cancel()
        with self._lock:
            outcomes = self._outcomes(wishes, goal)
        return {wish: outcome for wish, outcome in outcomes.items() if outcome is not None}

    def _on_event(self, event: VersionState) -> None:
        with self._lock:
            lives = self._streams.setdefault(event.id.name, {})
            key = (event.id.version, event.incarnation)
            lives.pop(key, None)  # so that the order is that of the last events
            lives[key] = event
            ended = [key for key, state in lives.items() if state.state is State.END]
            for old in ended[: max(0, len(ended) - self._max_ended)]:
                del lives[old]
            self._log.append(event)
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            decided = []
            for waiter in list(self._waiters):
                outcomes = self._outcomes(waiter.wanted, waiter.goal)
                if None not in outcomes.values():
                    self._waiters.remove(waiter)
                    decided.append((waiter, {wish: bool(outcome) for wish, outcome in outcomes.items()}))
        for waiter, reached in decided:
            waiter.reached(reached)

    def _cancel(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _outcomes(self, wanted: Iterable[Wanted], goal: State) -> dict[Wanted, bool | None]:
        return {wish: outcome_of(wish, goal, self._known(wish)) for wish in wanted}

    def _known(self, wish: Wanted) -> Mapping[int, VersionState]:
        return _by_version(self._streams.get(wish if isinstance(wish, str) else wish.name, {}))


class _Waiter:
    """Identity matters: two that wish for the same are two."""

    __slots__ = ("goal", "reached", "wanted")

    def __init__(self, wanted: tuple[Wanted, ...], goal: State, reached: Reached) -> None:
        self.wanted, self.goal, self.reached = wanted, goal, reached


def outcome_of(wish: Wanted, goal: State, versions: Mapping[int, VersionState]) -> bool | None:
    """Return whether a wish is fulfilled, or None while that is open. Pure.

    ``versions`` are those of the stream that the wish names.
    """
    if isinstance(wish, ServableId):
        versions = {number: state for number, state in versions.items() if number == wish.version}
    if any(state.state is goal for state in versions.values()):
        return True
    passed = [_ORDER.index(state.state) > _ORDER.index(goal) for state in versions.values()]
    return False if passed and all(passed) else None


def _by_version(lives: Mapping[tuple[int, int], VersionState]) -> dict[int, VersionState]:
    """Return the incarnation that counts of each version, the highest version first."""
    chosen: dict[int, VersionState] = {}
    # What is not ended comes last and so counts, and of that the newest.
    for (version, incarnation), state in sorted(
        lives.items(), key=lambda life: (-life[0][0], life[1].state is not State.END, life[0][1])
    ):
        del incarnation
        chosen[version] = state
    return chosen
