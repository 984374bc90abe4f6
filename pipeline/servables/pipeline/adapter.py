"""The kind ``pipeline``: a version is a directory with ``pipeline.yaml`` and the files of its steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InvalidArtefact, LoadFailed, PenstockError, PluginError
from pipeline.registry.loader import Loader
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import Servable, ServableId
from pipeline.registry.source_adapter import SourceAdapter, wants_process
from pipeline.servables.kinds import load_adapter
from pipeline.servables.pipeline import plan as plans
from pipeline.servables.pipeline.composition import Mismatch, compose
from pipeline.servables.pipeline.plan import FILE, Plan
from pipeline.servables.pipeline.servable import PipelineServable, Step, describe_steps


class PipelineOptions(Options, frozen=True):
    """``steps``: the options of each step, by its name. Nothing in a version can set an option."""

    steps: dict[str, dict[str, Any]] = {}  # noqa: RUF012  # msgspec makes a new one for each


class PipelineAdapter:
    """Source adapter of pipelines. ``find`` returns the adapter of a kind, or raises PluginError; each is made once."""

    kind = "pipeline"
    looks_for = FILE

    def __init__(self, find: Callable[[str], SourceAdapter] = load_adapter) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._adapters: dict[str, SourceAdapter] = {}

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        return (path / FILE).is_file()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> PipelineLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of PipelineOptions; a step's own are checked by its load."""
        return PipelineLoader(id, path, check_options(id, options, PipelineOptions), self)

    def wants_process(self, path: Path) -> bool:
        """See SourceAdapter: where one of the steps does, for all of them share a process."""
        try:
            steps = plans.read("", path).steps
            return any(wants_process(self.adapter_of(step.kind), plans.path_of("", path, step)) for step in steps)
        except (PenstockError, OSError):  # the load's to report
            return False

    def adapter_of(self, kind: str) -> SourceAdapter:
        """Return the adapter that all steps of a kind share; raises PluginError. Thread-safe."""
        with self._lock:
            if kind not in self._adapters:
                self._adapters[kind] = self._find(kind)
            return self._adapters[kind]


class PipelineLoader:
    """See Loader: loads the steps one after the other, and unloads them in reverse."""

    def __init__(
        self,
        id: ServableId,  # noqa: A002  # TF Serving's word
        path: Path,
        options: PipelineOptions,
        adapter: PipelineAdapter,
    ) -> None:
        self._id = id
        self._adapter = adapter
        self._path = path
        self._options = options
        self._loaders: list[Loader] = []
        self._servable: PipelineServable | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader: the steps' estimates together, None where one of them does not know."""
        loaders = self._loaders or self._make_loaders(plans.read(str(self._id), self._path))
        estimates = [loader.estimate_bytes() for loader in loaders]
        known = [estimate for estimate in estimates if estimate is not None]
        return sum(known) if len(known) == len(estimates) else None

    def load(self) -> PipelineServable:
        """See Loader. Raises what a step's load raises, and InvalidArtefact where the steps do not fit together."""
        plan = plans.read(str(self._id), self._path)
        loaders = self._make_loaders(plan)
        servables: list[Servable] = []
        try:
            for place, loader in enumerate(loaders):
                servables.append(self._load_step(plan, place, loader))
            self._servable = self._assemble(plan, servables)
        except BaseException:
            _unload(loaders[: len(servables)], servables)
            raise
        self._loaders = loaders
        return self._servable

    def unload(self) -> None:
        """See Loader. A step that raises does not keep the others; the first error is raised at the end."""
        loaders, self._loaders = self._loaders, []
        servable, self._servable = self._servable, None
        if servable is not None:
            servable.close()
        errors = _unload(loaders)
        if errors:
            raise errors[0]

    def _make_loaders(self, plan: Plan) -> list[Loader]:
        """Return the loader of each step, with the options that the stream's settings give it."""
        what = str(self._id)
        unknown = sorted(set(self._options.steps).difference(step.name for step in plan.steps))
        if unknown:
            names = ", ".join(step.name for step in plan.steps)
            raise InvalidArtefact(what, f"the stream has options for step {', '.join(unknown)}, its steps are {names}")
        loaders = []
        for place, step in enumerate(plan.steps):
            try:
                adapter = self._adapter.adapter_of(step.kind)
            except PluginError as error:
                raise InvalidArtefact(what, f"{FILE}: step {step.name!r}: {error}") from error
            path = plans.path_of(what, self._path, step)
            loaders.append(adapter.loader(self._step_id(plan, place), path, self._options.steps.get(step.name, {})))
        return loaders

    def _load_step(self, plan: Plan, place: int, loader: Loader) -> Servable:
        """Load one step. An OSError passes, for it may pass by itself; all else names the step."""
        try:
            servable = loader.load()
        except (PenstockError, OSError):
            raise
        except Exception as error:
            raise LoadFailed(str(self._step_id(plan, place)), f"{type(error).__name__}: {error}") from error
        return servable

    def _assemble(self, plan: Plan, servables: Sequence[Servable]) -> PipelineServable:
        signatures = []
        for step, servable in zip(plan.steps, servables, strict=True):
            if step.signature not in servable.signatures:
                known = ", ".join(servable.signatures)
                raise InvalidArtefact(
                    str(self._id), f"step {step.name!r} has no signature {step.signature!r}, only {known}"
                )
            signatures.append(servable.signatures[step.signature])
        try:
            whole = compose(plan, signatures)
        except Mismatch as error:
            raise InvalidArtefact(str(self._id), str(error)) from error
        steps = [
            Step(self._step_id(plan, place), servable, wiring)
            for place, (servable, wiring) in enumerate(zip(servables, whole.wirings, strict=True))
        ]
        names, kinds = [step.name for step in plan.steps], [step.kind for step in plan.steps]
        return PipelineServable(whole, steps, describe_steps(names, kinds, servables))

    def _step_id(self, plan: Plan, place: int) -> ServableId:
        """Return what a step is called in its own errors: ``digits:model/3``, ``options of digits:model``."""
        return ServableId(f"{self._id.name}:{plan.steps[place].name}", self._id.version)


def _unload(loaders: Sequence[Loader], servables: list[Servable] | None = None) -> list[Exception]:
    """Unload in reverse order, and return what was raised meanwhile. Lets go of the servables first."""
    if servables is not None:
        servables.clear()
    errors: list[Exception] = []
    for loader in reversed(loaders):
        try:
            loader.unload()
        except Exception as error:  # noqa: BLE001  # the others shall be unloaded all the same
            errors.append(error)
    return errors
