"""Between a source and a target: turns what the one aspires (storage paths) into what the other loads (loaders)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipeline.errors import LoadFailed, PenstockError
from pipeline.registry.loader import Loader
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, Target

logger = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")


class SourceAdapter(Protocol):
    """One kind of servable, found by entry point in ``penstock.servables``; made without arguments, cheap to make.

    State that the servables of one kind share lives in the adapter. One whose framework takes long to import may have a
    method ``prepare()`` that does so. It is called on a thread of the load pool before the worker takes requests, where
    the settings name the kind: an import holds the GIL. What it raises is logged, and the first load's to report.

    One that knows versions which hold the GIL for long, or leave something behind in the process that loads them, may
    have a method ``wants_process(path)``: whether the version there is loaded in a process of its own where the
    settings do not say. Called as ``detect`` is, and as cheap; raises nothing for files that are damaged.
    """

    @property
    def kind(self) -> str:
        """Name of the kind."""
        ...

    @property
    def looks_for(self) -> str:
        """What makes ``detect`` say yes, for people."""
        ...

    def detect(self, path: Path) -> bool:
        """Whether the files at ``path`` are of this kind. Reads names, and little more; imports no framework."""
        ...

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> Loader:  # noqa: A002  # TF Serving's word
        """Return the loader of one version. Cheap: nothing is opened or imported before its ``load``.

        Raises InvalidSettings when the options are not those of this kind.
        """
        ...


def wants_process(adapter: SourceAdapter, path: Path) -> bool:
    """Return what an adapter says of the version at ``path``; False where it says nothing of any."""
    say: Callable[[Path], bool] | None = getattr(adapter, "wants_process", None)
    return say is not None and say(path)


class UnaryAdapter(Generic[In, Out]):
    """A Target of one type and a Source of another that converts item by item.

    ``convert`` is called on the thread that aspires, for good items only, and has to be cheap. What it raises becomes
    the item's error: no item is lost, and none takes its neighbours along. Errored items pass as they are.
    """

    def __init__(self, convert: Callable[[Aspired[In]], Out]) -> None:
        self._convert = convert
        self._target: Target[Out] | None = None

    def set_target(self, target: Target[Out]) -> None:
        """See Source."""
        if self._target is not None:
            raise RuntimeError("this adapter has a target already")
        self._target = target

    def set_aspired(
        self, stream: str, items: Sequence[Aspired[In]], labels: Mapping[str, int], generation: int
    ) -> None:
        """See Target. Raises RuntimeError before ``set_target``."""
        self._connected().set_aspired(stream, [self.adapt(item) for item in items], labels, generation)

    def forget(self, stream: str, generation: int) -> None:
        """See Target. Raises RuntimeError before ``set_target``."""
        self._connected().forget(stream, generation)

    def adapt(self, item: Aspired[In]) -> Aspired[Out]:
        """Return the item with its data converted, or with the error that came in its place; never raises."""
        if item.error is not None:
            return _with(item, None, item.error)
        try:
            return _with(item, self._convert(item), None)
        except PenstockError as error:
            return _with(item, None, error.with_traceback(None))
        except Exception as error:
            logger.exception("%s: its source adapter raised", item.id)
            reason = f"its source adapter raised {type(error).__name__}: {error}"
            return _with(item, None, LoadFailed(str(item.id), reason))

    def _connected(self) -> Target[Out]:
        if self._target is None:
            raise RuntimeError("this adapter has no target yet; call connect(adapter, target) first")
        return self._target


def _with(item: Aspired[Any], data: Out | None, error: PenstockError | None) -> Aspired[Out]:
    changed: Aspired[Out] = replace(item, data=data, error=error)
    return changed
