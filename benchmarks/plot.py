"""A case as a picture: a bar for the median of each contender, and a whisker from its worst round to its best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report

_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8c4cc"
_ROW_INCHES: Final = 0.42
_WIDTH_INCHES: Final = 9.0
# The same report gives the same bytes, and text stays text.
_STYLE: Final[dict[Any, Any]] = {"svg.fonttype": "none", "svg.hashsalt": "penstock", "font.size": 10}


def write(report: Report, folder: Path) -> Path:
    """Write ``CASE.svg`` to a folder, which is made, and return its path; bars stand in the order of the report.

    Bars of one order of magnitude start at 0; others are drawn on a logarithmic scale, and the axis says so.
    """
    import matplotlib as mpl  # noqa: PLC0415  # half a second that who wants no picture saves
    from matplotlib.figure import Figure  # noqa: PLC0415  # likewise

    names, spreads = list(report["contenders"]), list(report["contenders"].values())
    medians = [one["median"] for one in spreads]
    below = [one["median"] - one["min"] for one in spreads]
    above = [one["max"] - one["median"] for one in spreads]
    colours = [_OURS if "penstock" in name else _OTHERS for name in names]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 1.4 + _ROW_INCHES * len(names)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(names, medians, xerr=(below, above), color=colours, ecolor="#444444", capsize=3)
        axes.bar_label(bars, [f"{median:,.0f}" if median >= 100 else f"{median:.3g}" for median in medians], padding=6)
        axes.invert_yaxis()
        is_wide = min(medians) > 0 and max(medians) > 50 * min(medians)
        axes.set_xscale("log" if is_wide else "linear")
        axes.margins(x=0.15)
        axes.set_xlabel(report["unit"] + (", logarithmic" if is_wide else ""))
        axes.set_title(f"{report['case']}: {report['measure']}", loc="left", fontsize=10, wrap=True)
        axes.spines[["top", "right"]].set_visible(False)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{report['case']}.svg"
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path
