"""``pipeline.yaml``: which steps a version has, in which order, and how their tensors are called between them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from pipeline.errors import InvalidArtefact, PathRefused
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables import version_file

FILE: Final = "pipeline.yaml"
MAX_STEPS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class StepPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step. There are no options here: those are the operator's, and come from the stream's settings.

    ``kind`` is an installed kind of servables, ``name`` the step's own name, by default that of its kind. ``path`` is
    where its files are, below the version's directory, which is the default. ``inputs`` and ``outputs`` rename tensors:
    the step's own name to that in the pipeline; what is left out keeps its name. ``signature`` is the step's to use.
    """

    kind: str
    name: str = ""
    path: str = "."
    signature: str = DEFAULT_SIGNATURE
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole pipeline. Without ``inputs`` they are what no step makes; without ``outputs``, those of the last step."""

    steps: tuple[StepPlan, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def read(what: str, version: Path) -> Plan:
    """Return the plan of a version, every step with a name of its own; reads the file.

    Raises InvalidArtefact, in the name of ``what``, for a file that is none, PathRefused for a path that leads out.
    """
    if not (version / FILE).is_file():
        raise InvalidArtefact(what, f"{FILE} is missing")
    plan = version_file.read(what, version / FILE, Plan)
    if not 1 <= len(plan.steps) <= MAX_STEPS:
        raise InvalidArtefact(what, f"{FILE}: {len(plan.steps)} steps, expected 1 to {MAX_STEPS}")
    steps = tuple(msgspec.structs.replace(step, name=step.name or step.kind) for step in plan.steps)
    names = [step.name for step in steps]
    for step in steps:
        if not _NAME.fullmatch(step.name):
            raise InvalidArtefact(
                what, f"{FILE}: step {step.name!r}: a name is 1 to 64 letters, digits, '_', '.' or '-'"
            )
        if names.count(step.name) > 1:
            raise InvalidArtefact(what, f"{FILE}: two steps are called {step.name!r}; give one a name of its own")
        if step.kind == "pipeline":
            raise InvalidArtefact(what, f"{FILE}: step {step.name!r} is a pipeline; write its steps here instead")
        path_of(what, version, step)
    return msgspec.structs.replace(plan, steps=steps)


def path_of(what: str, version: Path, step: StepPlan) -> Path:
    """Return where a step's files are; PathRefused where that is not in the version, links followed."""
    try:
        path = (version / step.path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidArtefact(what, f"{FILE}: step {step.name!r}: path {step.path!r}: {error}") from error
    if Path(step.path).is_absolute() or ".." in Path(step.path).parts or not path.is_relative_to(version.resolve()):
        raise PathRefused(what, f"{FILE}: step {step.name!r}: path {step.path!r} leads out of the version")
    return version / step.path
