"""What a case prints: one JSON object, or the same for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from benchmarks import accounting, figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Versus(NamedTuple):
    """A comparison beside the first: ``ours`` / ``theirs``, names of contenders; no target where none was promised."""

    ours: str
    theirs: str
    target: float | None = None


class Ratio(TypedDict):
    """What came of a comparison: no ratio to a contender that failed; ``reached`` is None without ratio or target."""

    ratio: float | None
    target: float | None
    reached: bool | None


class Report(TypedDict):
    """One case: ``ratio`` is median of ours / median of the rival's, or what ``measure`` says where those are ratios.

    ``better`` says which way, and ``reached`` whether ``target`` was; ``ratios`` has further comparisons, by the names
    of the two. ``faults`` is empty, or the case has failed and its figures mean nothing. ``failures`` says what became
    of contenders that died or hung: they have no figures, a ratio to them is None, and those of the others count.
    """

    case: str
    measure: str
    unit: str
    ratio: float | None
    target: float
    better: Literal["higher", "lower"]
    reached: bool
    ratios: dict[str, Ratio]
    contenders: dict[str, figures.Spread]
    others: dict[str, dict[str, figures.Spread]]
    descriptions: dict[str, str]
    rounds: int
    accounting: dict[str, accounting.Account]
    faults: list[str]
    failures: dict[str, str]
    settings: dict[str, Any]
    machine: dict[str, Any]


def make(
    *,
    case: str,
    measure: str,
    unit: str,
    target: float,
    better: Literal["higher", "lower"],
    rounds: Mapping[str, Sequence[float]],
    others: Mapping[str, Mapping[str, Sequence[float]]],
    descriptions: Mapping[str, str],
    accounts: Mapping[str, Sequence[accounting.Account]],
    settings: Mapping[str, Any],
    machine: Mapping[str, Any],
    ratio: float | None = None,
    versus: Sequence[Versus] = (),
    failures: Mapping[str, str] | None = None,
) -> Report:
    """Return the report; the first name of ``rounds`` is ours, the second is the rival that the target is about.

    Who has no round has failed, and ``failures`` says why, by name.

    ``ratio``: for a case whose rounds are ratios already, that which the target is about.
    ``versus``: further comparisons of names of ``rounds``.
    ``others``: further figures by measure, then contender; they are shown and not compared.
    """
    spreads = _spreads(rounds)
    if ratio is None:
        ours, rival = list(rounds)[:2]
        ratio = _ratio(spreads, ours, rival)
    totals = {name: accounting.total(several) for name, several in accounts.items() if several}
    return Report(
        case=case,
        measure=measure,
        unit=unit,
        ratio=_rounded(ratio),
        target=target,
        better=better,
        reached=_is_reached(ratio, target, better),
        ratios={f"{one.ours} / {one.theirs}": _compare(spreads, one, better) for one in versus},
        contenders=spreads,
        others={name: _spreads(by_contender) for name, by_contender in others.items()},
        descriptions=dict(descriptions),
        rounds=max(map(len, rounds.values())),
        accounting=totals,
        faults=[f"{name}: {fault}" for name, one in totals.items() for fault in accounting.faults(one)],
        failures=dict(failures or {}),
        settings=dict(settings),
        machine=dict(machine),
    )


def _spreads(rounds: Mapping[str, Sequence[float]]) -> dict[str, figures.Spread]:
    return {name: figures.spread(values) for name, values in rounds.items() if values}


def _ratio(spreads: Mapping[str, figures.Spread], ours: str, theirs: str) -> float | None:
    if not {ours, theirs} <= spreads.keys():
        return None
    median = spreads[theirs]["median"]
    return spreads[ours]["median"] / median if median else 0.0


def _compare(spreads: Mapping[str, figures.Spread], one: Versus, better: Literal["higher", "lower"]) -> Ratio:
    ratio = _ratio(spreads, one.ours, one.theirs)
    reached = None if one.target is None or ratio is None else _is_reached(ratio, one.target, better)
    return Ratio(ratio=_rounded(ratio), target=one.target, reached=reached)


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def _is_reached(ratio: float | None, target: float, better: Literal["higher", "lower"]) -> bool:
    if ratio is None:
        return False
    return ratio >= target if better == "higher" else ratio <= target


def text(report: Report) -> str:
    """Return the report for people."""
    machine = report["machine"]
    lines = [
        f"{report['case']}: {report['measure']}, {report['unit']}",
        *_rows(report["contenders"]),
        *(f"  {name:<22} failed: {_indented(why)}" for name, why in report["failures"].items()),
        f"  ratio {_figure(report['ratio'])}{_verdict(report['target'], report['reached'], report['better'])}",
    ]
    for name, one in report["ratios"].items():
        lines.append(f"  {name}: {_figure(one['ratio'])}{_verdict(one['target'], one['reached'], report['better'])}")
    for measure, spreads in report["others"].items():
        lines += [measure, *_rows(spreads)]
    for name, account in report["accounting"].items():
        counts = ", ".join(f"{value} {field}" for field, value in account.items())
        lines.append(f"  {name}: {counts}")
    lines += [f"  {name} = {description}" for name, description in report["descriptions"].items()]
    lines += [f"  {name}: {value}" for name, value in report["settings"].items()]
    lines += [f"  {name}: {value}" for name, value in machine.items()]
    lines += [f"  FAILED, these figures mean nothing: {fault}" for fault in report["faults"]]
    return "\n".join(lines)


def _figure(ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{ratio:.2f}"


def _indented(lines: str) -> str:
    return lines.replace("\n", "\n    | ")


def _verdict(target: float | None, reached: bool | None, better: Literal["higher", "lower"]) -> str:  # noqa: FBT001  # it is what came out
    if target is None or reached is None:
        return ""
    return f", target {'>=' if better == 'higher' else '<='} {target:g}: {'reached' if reached else 'not reached'}"


def _rows(spreads: Mapping[str, figures.Spread]) -> list[str]:
    return [
        f"  {name:<22} median {one['median']:>12,.3f}   min {one['min']:>12,.3f}   max {one['max']:>12,.3f}"
        for name, one in spreads.items()
    ]
