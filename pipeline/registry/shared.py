"""State that several servables share: made by the first that needs it, destroyed with the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Lives in a source adapter; each of its loaders calls ``acquire`` in ``load`` and ``release`` in ``unload``.

    ``create`` and ``destroy`` run on the load and unload pools, never both at once; who comes meanwhile waits. What
    ``create`` raises is raised by that ``acquire``, and the next one tries again. For state that costs nothing, a plain
    attribute of the adapter will do.
    """

    def __init__(self, create: Callable[[], T], destroy: Callable[[T], None] = lambda _: None) -> None:
        self._create = create
        self._destroy = destroy
        self._lock = threading.Lock()
        self._users = 0
        self._state: T | None = None

    def acquire(self) -> T:
        """Return the state, created now where nobody had it."""
        with self._lock:
            if self._users == 0:
                self._state = self._create()
            self._users += 1
            return self._state  # type: ignore[return-value]  # there is one while there are users

    def release(self) -> None:
        """Give it back; the last one destroys it. Raises RuntimeError when it was not acquired."""
        with self._lock:
            if self._users == 0:
                raise RuntimeError("released more often than acquired")
            self._users -= 1
            if self._users == 0:
                state, self._state = self._state, None
                self._destroy(state)  # type: ignore[arg-type]  # as above
