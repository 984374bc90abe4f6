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
    """What came of a comparison; ``reached`` is None where there is no target."""

    ratio: float
    target: float | None
    reached: bool | None


class Report(TypedDict):
    """One case: ``ratio`` is median of ours / median of the rival's, or what ``measure`` says where those are ratios.

    ``better`` says which way, and ``reached`` whether ``target`` was; ``ratios`` has further comparisons, by the names
    of the two. ``faults`` is empty, or the case has failed and its figures mean nothing.
    """

    case: str
    measure: str
    unit: str
    ratio: float
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
) -> Report:
    """Return the report; the first name of ``rounds`` is ours, the second is the rival that the target is about.

    ``ratio``: for a case whose rounds are ratios already, that which the target is about.
    ``versus``: further comparisons of names of ``rounds``.
    ``others``: further figures by measure, then contender; they are shown and not compared.
    """
    spreads = {name: figures.spread(values) for name, values in rounds.items()}
    if ratio is None:
        ours, rival = list(spreads)[:2]
        ratio = _ratio(spreads, ours, rival)
    totals = {name: accounting.total(several) for name, several in accounts.items()}
    return Report(
        case=case,
        measure=measure,
        unit=unit,
        ratio=round(ratio, 4),
        target=target,
        better=better,
        reached=_is_reached(ratio, target, better),
        ratios={f"{one.ours} / {one.theirs}": _compare(spreads, one, better) for one in versus},
        contenders=spreads,
        others={
            name: {who: figures.spread(values) for who, values in by_contender.items()}
            for name, by_contender in others.items()
        },
        descriptions=dict(descriptions),
        rounds=len(next(iter(rounds.values()))),
        accounting=totals,
        faults=[f"{name}: {fault}" for name, one in totals.items() for fault in accounting.faults(one)],
        settings=dict(settings),
        machine=dict(machine),
    )


def _ratio(spreads: Mapping[str, figures.Spread], ours: str, theirs: str) -> float:
    median = spreads[theirs]["median"]
    return spreads[ours]["median"] / median if median else 0.0


def _compare(spreads: Mapping[str, figures.Spread], one: Versus, better: Literal["higher", "lower"]) -> Ratio:
    ratio = _ratio(spreads, one.ours, one.theirs)
    reached = None if one.target is None else _is_reached(ratio, one.target, better)
    return Ratio(ratio=round(ratio, 4), target=one.target, reached=reached)


def _is_reached(ratio: float, target: float, better: Literal["higher", "lower"]) -> bool:
    return ratio >= target if better == "higher" else ratio <= target


def text(report: Report) -> str:
    """Return the report for people."""
    machine = report["machine"]
    lines = [
        f"{report['case']}: {report['measure']}, {report['unit']}",
        *_rows(report["contenders"]),
        f"  ratio {report['ratio']:.2f}{_verdict(report['target'], report['reached'], report['better'])}",
    ]
    for name, one in report["ratios"].items():
        lines.append(f"  {name}: {one['ratio']:.2f}{_verdict(one['target'], one['reached'], report['better'])}")
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


def _verdict(target: float | None, reached: bool | None, better: Literal["higher", "lower"]) -> str:  # noqa: FBT001  # it is what came out
    if target is None:
        return ""
    return f", target {'>=' if better == 'higher' else '<='} {target:g}: {'reached' if reached else 'not reached'}"


def _rows(spreads: Mapping[str, figures.Spread]) -> list[str]:
    return [
        f"  {name:<22} median {one['median']:>12,.3f}   min {one['min']:>12,.3f}   max {one['max']:>12,.3f}"
        for name, one in spreads.items()
    ]
