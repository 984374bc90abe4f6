"""What loads and unloads one version: the contract between the manager and every kind of servable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pipeline.registry.servable import Servable


class Loader(Protocol):
    """Loads and unloads one version. Making one is cheap, and one that is never used is dropped without a call.

    The manager calls ``load`` and ``unload`` of one loader one after the other, never both at once. What ``load``
    returns may stand for something that lives elsewhere (another process, a device). A loader of such may have a method
    ``memory_bytes()``: what the loaded version has resident there, None where that is here; asked after a load. One
    that finds its kind out by itself may have it as ``found_kind``, from then on.
    """

    def estimate_bytes(self) -> int | None:
        """Return an upper bound of the memory that the version needs, or None where that is not known.

        Called on a thread of the load pool before every ``load`` and once after it; may look at the files and should
        not read them. It may only become smaller. What it raises fails the version as if ``load`` had raised it.
        """
        ...

    def load(self) -> Servable:
        """Do all the expensive work and return the servable, ready to answer.

        Called on a thread of the load pool; may take as long as it needs. Any exception fails the version; it is tried
        again on this same object when the exception is ``retriable`` or an OSError. A load that raises has freed what
        it took: ``unload`` is not called after it.
        """
        ...

    def unload(self) -> None:
        """Free what ``load`` took. Called once, on a thread of the unload pool, after the last handle was released."""
        ...


def kind_of(loader: Loader) -> str | None:
    """Return the kind that a loader has found out; None where it has not, or was told."""
    found: str | None = getattr(loader, "found_kind", None)
    return found


def elsewhere_bytes(loader: Loader) -> int | None:
    """Return what a loader says that its version has resident outside this process; None where it says nothing."""
    say: Callable[[], int | None] | None = getattr(loader, "memory_bytes", None)
    return None if say is None else say()
