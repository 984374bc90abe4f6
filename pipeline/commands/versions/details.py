"""What one version is, for people: what computes it with what, how it is called, how each worker is with it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.commands.versions import rendering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.commands.versions.rendering import Table
    from pipeline.control.fleet import Fleet
    from pipeline.description import Description, TensorSpec
    from pipeline.records import ServableState

_TENSORS = ("signature", "", "tensor", "datatype", "shape")
_WORKERS = ("worker", "state", "for", "load", "estimate", "memory", "reason")
_MIB = 1 << 20


def split(what: str) -> tuple[str, int | None]:
    """Return stream and version of ``NAME/VERSION``, or the name as it is and None."""
    name, slash, number = what.rpartition("/")
    return (name, int(number)) if slash and name and number.isascii() and number.isdigit() else (what, None)


def same(states: Sequence[ServableState]) -> list[list[ServableState]]:
    """Return the states in groups that have one content, kind and description, in order of first appearance.

    More than one group means that workers differ, which a person should see.
    """
    groups: list[list[ServableState]] = []
    for state in states:
        key = (state.path, state.digest, state.kind, state.description)
        fitting = (
            group for group in groups if (group[0].path, group[0].digest, group[0].kind, group[0].description) == key
        )
        group = next(fitting, None)
        if group is None:
            groups.append([state])
        else:
            group.append(state)
    return groups


def facts(state: ServableState) -> list[tuple[str, str]]:
    """Return what stands of a version, as name and text; what nobody knows is left out."""
    found = [
        ("version", f"{state.stream}/{state.version}"),
        ("path", state.path or ""),
        ("digest", state.digest or ""),
        ("kind", state.kind or ""),
    ]
    if state.description is not None:
        found += _of_description(state.description)
    return [(name, text) for name, text in found if text]


def tensors_table(description: Description) -> Table:
    """Return columns and rows: one for each tensor of each signature."""
    rows: list[Sequence[str]] = []
    for name, signature in description.signatures.items():
        title = name if signature.batched else f"{name} (not batched)"
        for which, specs in (("in", signature.inputs), ("out", signature.outputs)):
            for spec in specs:
                rows.append((title, which, spec.name, spec.datatype, shape(spec)))
                title = ""
    return _TENSORS, rows


def workers_table(fleet: Fleet, states: Sequence[ServableState], now_ms: int) -> Table:
    """Return columns and rows: one for each worker and life of the version on it."""
    from pipeline.control.rows import reason_of

    signs = {worker.worker: worker for worker in fleet.workers}
    rows: list[Sequence[str]] = [
        (
            state.worker,
            rendering.state_text(state, signs.get(state.worker), now_ms),
            rendering.duration(now_ms - state.at_ms),
            "" if state.load_ms is None else f"{state.load_ms} ms",
            _mib(state.estimate_bytes),
            _mib(state.memory_bytes),
            reason_of(state),
        )
        for state in states
    ]
    return _WORKERS, rows


def shape(spec: TensorSpec) -> str:
    """Return a shape as people write it: ``[batch, 3, -1]``, an axis of any length by its name where it has one."""
    names = spec.axes or ("",) * len(spec.shape)
    return f"[{', '.join(_axis(length, name) for length, name in zip(spec.shape, names, strict=True))}]"


def _axis(length: int, name: str) -> str:
    if not name:
        return str(length)
    return name if length < 0 else f"{name}={length}"


def _of_description(description: Description) -> Iterator[tuple[str, str]]:
    yield "framework", f"{description.framework} {description.framework_version}".strip()
    yield "threads", "" if description.threads is None else str(description.threads)
    children = f", {description.processes} of them" if description.processes > 1 else ""
    yield "isolation", f"{description.isolation}{children}"
    for note in description.notes:
        yield "note", note


def _mib(count: int | None) -> str:
    return "" if count is None else f"{count / _MIB:.1f} MiB"
