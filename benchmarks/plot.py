"""A report as a picture: what the case is about above, the further figures below, each with an axis of its own.

A bar for the median of each contender, and a whisker from its worst round to its best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.figures import Spread
    from benchmarks.report import Report

_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8c4cc"
_ROW_INCHES: Final = 0.42
_PANEL_INCHES: Final = 1.4
_WIDTH_INCHES: Final = 12.0
# The same report gives the same bytes, and text stays text.
_STYLE: Final[dict[Any, Any]] = {"svg.fonttype": "none", "svg.hashsalt": "penstock", "font.size": 10}


def write(report: Report, folder: Path) -> Path:
    """Write ``CASE.svg`` to a folder, which is made, and return its path; bars stand in the order of the report.

    Bars of one order of magnitude start at 0; others are drawn on a logarithmic scale, and the axis says so.
    """
    import matplotlib as mpl  # noqa: PLC0415  # half a second that who wants no picture saves
    from matplotlib.figure import Figure  # noqa: PLC0415  # likewise

    title = f"{report['case']}: {report['measure']}"
    if report["failures"]:
        title += f"; failed: {', '.join(report['failures'])}"
    panels = [(title, report["unit"], report["contenders"])]
    panels += [("", measure, spreads) for measure, spreads in report["others"].items() if spreads]
    rows: list[Any] = _rows(len(panels))  # what a mosaic is made of; a list of lists of int does not count as one
    inches = [_PANEL_INCHES + _ROW_INCHES * max(len(panels[number][2]) for number in row) for row in rows]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, sum(inches)), layout="constrained")
        for number, axes in figure.subplot_mosaic(rows, height_ratios=inches).items():
            _draw(axes, *panels[number])
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{report['case']}.svg"
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _rows(panels: int) -> list[list[int]]:
    """Return the numbers of panels by row: two side by side, but the first, and the last one without a neighbour."""
    pairs = [[number, number + 1 if number + 1 < panels else number] for number in range(1, panels, 2)]
    return [[0, 0], *pairs]


def _draw(axes: Any, title: str, unit: str, spreads: Mapping[str, Spread]) -> None:
    medians = [one["median"] for one in spreads.values()]
    below = [one["median"] - one["min"] for one in spreads.values()]
    above = [one["max"] - one["median"] for one in spreads.values()]
    is_ours = ["penstock" in name for name in spreads]
    colours = [_OURS if one or not any(is_ours) else _OTHERS for one in is_ours]  # without a rival all are ours
    bars = axes.barh([*spreads], medians, xerr=(below, above), color=colours, ecolor="#444444", capsize=3)
    axes.bar_label(bars, [f"{median:,.0f}" if median >= 100 else f"{median:.3g}" for median in medians], padding=6)
    axes.invert_yaxis()
    is_wide = min(medians, default=0) > 0 and max(medians) > 50 * min(medians)
    axes.set_xscale("log" if is_wide else "linear")
    axes.margins(x=0.15)
    axes.set_xlabel(unit + (", logarithmic" if is_wide else ""))
    axes.set_title(title, loc="left", fontsize=10, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
