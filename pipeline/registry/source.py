"""Where aspired versions come from and where they go: the contracts of Source and Target, and the item between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipeline.errors import PenstockError
from pipeline.registry.servable import ServableId

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True)
class Aspired(Generic[T_co]):
    """One version that shall be loaded: either ``data`` (a path, a loader) or the ``error`` that stands in its place.

    An error travels the whole chain as a value, so that the manager can report it. ``generation`` is the position of
    the aspiration in its topic, -1 where there is none. ``path`` and ``digest`` describe the artefact for people and
    for telling two contents of one version number apart; the manager opens neither. A raised ``revision`` asks for the
    same content to be loaded anew.
    """

    id: ServableId
    data: T_co | None
    error: PenstockError | None = None
    generation: int = -1
    kind: str | None = None
    path: str | None = None
    digest: str | None = None
    revision: int = 0

    def is_same_content(self, other: Aspired[object]) -> bool:
        """Whether both name the same bytes: equal digests where both have one, equal paths otherwise."""
        if self.digest is not None and other.digest is not None:
            return self.digest == other.digest
        return self.path == other.path


class Target(Protocol[T_contra]):
    """Takes aspirations. Callable from any thread at any time; a target that has been closed ignores the call."""

    def set_aspired(
        self, stream: str, items: Sequence[Aspired[T_contra]], labels: Mapping[str, int], generation: int
    ) -> None:
        """Replace what is aspired of one stream by ``items``, and its labels by ``labels``, as one step.

        The set is complete: a version that is left out is unloaded, an empty set unloads all of them and keeps the
        stream known. Idempotent: a repeated set changes nothing. The order of the items means nothing. The last call
        wins, whatever its generation. Returns without waiting for any load or unload. Raises ValueError when an item
        is of another stream, and then changes nothing.
        """
        ...

    def forget(self, stream: str, generation: int) -> None:
        """Unload all versions of a stream and drop its name from the known ones (a tombstone in the topic).

        A stream that is not known is no error; one that is aspired again afterwards is known again.
        """
        ...


class Source(Protocol[T_co]):
    """Decides which versions are aspired, and tells one target."""

    def set_target(self, target: Target[T_co]) -> None:
        """Set where aspirations go; called once, before anything is aspired. Raises RuntimeError the second time."""
        ...


def connect(source: Source[T], target: Target[T]) -> None:
    """Let ``target`` receive what ``source`` aspires."""
    source.set_target(target)
