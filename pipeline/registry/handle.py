"""The right to use one version now."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.registry.servable import Servable, ServableId

if TYPE_CHECKING:
    from pipeline.registry.harness import Harness


class Handle:
    """While held, its one version stays loaded; nothing else of the registry waits for it.

    A context manager. Owned by one thread or task at a time, and may be passed on. One that is never released keeps
    its version resident for ever.
    """

    __slots__ = ("_harness", "digest", "id")

    def __init__(self, harness: Harness) -> None:
        self._harness: Harness | None = harness
        self.id: ServableId = harness.id
        self.digest: str | None = harness.item.digest

    @property
    def servable(self) -> Servable:
        """What answers; valid until ``release``. Raises RuntimeError after it."""
        servable = self._harness.servable if self._harness is not None else None
        if servable is None:
            raise RuntimeError(f"the handle on {self.id} has been released")
        return servable

    @property
    def derived(self) -> dict[str, Any]:
        """What those who use this version have worked out about it, by whatever name: shared by all of its handles.

        It is gone when the version is. Valid until ``release``; from any thread, one item at a time.
        """
        if self._harness is None:
            raise RuntimeError(f"the handle on {self.id} has been released")
        return self._harness.derived

    def release(self) -> None:
        """Give the right back; the second call does nothing. Never blocks, never unloads on this thread."""
        harness, self._harness = self._harness, None
        if harness is not None:
            harness.give_back()

    def __enter__(self) -> Self:
        """Return the handle itself; it is held already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release it."""
        self.release()
