"""Figures of the tables: bars (Fig. 5), lines by chain length (Figs. 6–7), AUCs with intervals.

Frames are in long form, one number a row. A cell that is absent or NaN is marked "not run"; it is
never drawn as 0. Each function returns a matplotlib ``Figure``, which a notebook shows as the value
of a cell and ``figure.savefig(path)`` writes to a file.
"""

import math
from itertools import cycle, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ccb_lib.plots.style import (
    GREY,
    MARKERS,
    NOT_RUN,
    PALETTE,
    check_range,
    colours,
    panels,
    styled,
)
from ccb_lib.reproduction.names import display_name

SOURCES = ("reported", "released", "clean")
Cell = tuple[float, float, float]  # value, low, high


@styled
def grouped_bars(frame: pd.DataFrame, *, metric: str = "AUC", compare: str = "method") -> Figure:
    """Draw a table as groups of bars, one group a class (Fig. 5).

    Args:
        frame: Columns ``method``, ``abnormal`` and ``value`` (0…1). Optional columns: ``source``
            (``"reported"``, ``"released"`` or ``"clean"``), and ``low`` and ``high``, the ends of
            an interval around the value.
        metric: Name of the values, for the axis.
        compare: ``"method"`` draws one bar a method and one panel a source. ``"source"`` draws one
            bar a source and one panel a method.

    Returns:
        The figure, with groups and bars in the order of the frame, and a dashed line at 0.5
        (chance). Ten classes of five methods take two rows. A panel without any value is left out
        and named below the figure, unless the whole frame has no value.

    Raises:
        ValueError: A column is missing, a value lies outside 0…1, a cell occurs twice, or
            ``compare`` or a source is unknown.

    Example:
        >>> frame = pd.DataFrame({"method": ["CCB"], "abnormal": ["df"], "value": [0.8]})
        >>> grouped_bars(frame).axes[0].get_ylabel()
        'AUC'
    """
    if compare not in ("method", "source"):
        raise ValueError(f"compare={compare!r} given; 'method' or 'source' is needed.")
    cells, (methods, sources, classes) = _cells(frame, ("method", "source", "abnormal"))
    bars, rows = (methods, sources) if compare == "method" else (sources, methods)
    seen = {key[1 if compare == "method" else 0] for key in cells}
    absent = [row for row in rows if seen and row not in seen]
    rows = [row for row in rows if row not in absent]
    # More than 32 bars in a row are too thin on a phone.
    lines = max(1, math.ceil(len(classes) * len(bars) / 32))
    per_row = math.ceil(len(classes) / lines)
    parts = [classes[i : i + per_row] for i in range(0, len(classes), per_row)]
    figure, axes = panels(len(rows) * len(parts), height=2.1)
    colour = colours(bars)
    for ax, (row, part) in zip(axes, product(rows, parts), strict=True):
        groups = [
            [
                cells.get((bar, row, name) if compare == "method" else (row, bar, name))
                for bar in bars
            ]
            for name in part
        ]
        _bar_groups(ax, groups, [colour[bar] for bar in bars], per_row)
        slanted = (
            {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(part) > 5 else {}
        )
        ax.set_xticks(range(len(part)), [display_name(name) for name in part], **slanted)
        ax.set(ylim=(0, 1), yticks=np.arange(0, 1.1, 0.2), ylabel=metric)
        ax.set_title(row if len(rows) + len(absent) > 1 and part is parts[0] else "")
        ax.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    handles: list[Any] = [Patch(color=colour[bar], label=bar) for bar in bars]
    handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="chance"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3 if len(handles) > 4 else 4)
    if absent:
        figure.supxlabel(
            f"N{NOT_RUN[1:]}: {', '.join(absent)}", fontsize=9, color=GREY, x=0.02, ha="left"
        )
    return figure


@styled
def chain_lines(frame: pd.DataFrame, *, metric: str = "accuracy") -> Figure:
    """Draw a measure against the length of the chains, one line a class (Figs. 6–7).

    Args:
        frame: Columns ``chain``, ``abnormal`` and ``value`` (0…1). Optional columns: ``dataset``
            and ``source``, with one panel for each, and ``low`` and ``high``, the ends of an
            interval.
        metric: Name of the values, for the axis.

    Returns:
        The figure, with chains from left to right in the order of the frame. A chain that was not
        run leaves a gap in its line and has a cross at the bottom.

    Raises:
        ValueError: A column is missing, a value lies outside 0…1, or a cell occurs twice.

    Example:
        >>> frame = pd.DataFrame({"chain": ["4-3-2-1"], "abnormal": ["df"], "value": [0.8]})
        >>> chain_lines(frame).axes[0].get_ylabel()
        'accuracy'
    """
    if "dataset" not in frame:
        frame = frame.assign(dataset="")
    cells, (datasets, sources, chains, _) = _cells(
        frame, ("dataset", "source", "chain", "abnormal")
    )
    rows = list(product(datasets, sources))
    figure, axes = panels(len(rows), height=2.7)
    ends = [end for cell in cells.values() for end in cell]
    bottom = np.floor((min(ends, default=0.5) - 0.05) * 10) / 10
    for ax, (dataset, source) in zip(axes, rows, strict=True):
        classes = list(dict.fromkeys(frame.loc[frame["dataset"] == dataset, "abnormal"]))
        for i, ((name, colour), marker) in enumerate(
            zip(colours(classes).items(), cycle(MARKERS), strict=False)
        ):
            line = [cells.get((dataset, source, chain, name), (np.nan,) * 3) for chain in chains]
            value, low, high = np.array(line).T
            ax.errorbar(
                range(len(chains)), value, [value - low, high - value], color=colour, marker=marker,
                markersize=5, capsize=2, label=display_name(name),
            )  # fmt: skip
            gaps = np.flatnonzero(np.isnan(value))
            ax.plot(
                gaps + 0.12 * (i - (len(classes) - 1) / 2),
                np.full(len(gaps), bottom + 0.02),
                "x",
                color=colour,
            )
        title = " · ".join([display_name(dataset)] * bool(dataset) + [source] * (len(sources) > 1))
        ax.set(ylim=(bottom, 1.0), xlim=(-0.4, len(chains) - 0.6), ylabel=metric)
        ax.set_xticks(range(len(chains)), chains)
        handles, names = ax.get_legend_handles_labels()
        if any((dataset, source, chain, name) not in cells for chain in chains for name in classes):
            handles.append(Line2D([], [], color=GREY, marker="x", linestyle="none"))
            names.append(NOT_RUN)
        ax.legend(
            handles, names, title=title, alignment="left", loc="lower left",
            bbox_to_anchor=(-0.1, 1.02), columnspacing=1.2, borderpad=0,
            ncols=2 if sum(map(len, names)) > 30 else len(names),
        )  # fmt: skip
    axes[-1].set_xlabel("convolutions per chain, shallow to deep")
    return figure


@styled
def interval_rows(frame: pd.DataFrame, *, rows: str = "method", panel: str = "abnormal") -> Figure:
    """Draw AUCs and their intervals as horizontal lines, one panel for each class.

    Args:
        frame: Columns ``auc``, ``low`` and ``high`` (0…1), and the two that ``rows`` and ``panel``
            name; see `ccb_lib.chapters.results.with_intervals`. Several rows of one name, such as
            seeds, are drawn below each other.
        rows: Column of the names on the vertical axis.
        panel: Column of which each value has a panel.

    Returns:
        The figure, two panels a row, names in the order of the frame. Chance is dashed.

    Raises:
        ValueError: The frame has no rows, or a value lies outside 0…1.

    Example:
        >>> row = {"method": "CCB", "abnormal": "df", "auc": 0.6, "low": 0.5, "high": 0.7}
        >>> interval_rows(pd.DataFrame([row])).axes[0].get_title(loc="left")
        'df'
    """
    if frame.empty:
        raise ValueError("No AUCs given. Run the table first (ccb table 4 --run).")
    check_range(frame[["auc", "low", "high"]].to_numpy(float), "AUC")
    names, parts = (list(dict.fromkeys(frame[column])) for column in (rows, panel))
    columns = min(2, len(parts))
    height = 0.65 + 0.19 * len(names)
    figure, axes = panels(-(-len(parts) // columns), columns, height=height)
    for ax, part in zip(axes, parts, strict=False):
        own = frame[frame[panel] == part]
        shift = 0.2 * own.groupby(rows).cumcount()
        y = own[rows].map(names.index) + shift
        ax.hlines(y, own["low"], own["high"], color=PALETTE[0], linewidth=1.6)
        ax.plot(own["auc"], y, "o", color=PALETTE[0], markersize=4.5)
        ax.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
        ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), title=display_name(part), xlabel="AUC")
        ax.set_yticks(range(len(names)), names)
        ax.grid(visible=False, axis="y")
    for ax in axes[len(parts) :]:
        ax.set_axis_off()
    return figure


def _cells(frame: pd.DataFrame, keys: tuple[str, ...]) -> tuple[dict[tuple, Cell], list[list[str]]]:
    """Check a frame; return the cells that were run by key, and the levels of each key in order."""
    if "source" not in frame:
        frame = frame.assign(source="")
    if missing := [column for column in (*keys, "value") if column not in frame]:
        raise ValueError(
            f"The frame has no column {missing}; it has {list(frame)}. One number a row is needed."
        )
    if frame.empty:
        raise ValueError(
            "The frame has no rows; give a row for each cell, with value NaN where it was not run."
        )
    if (twice := frame.duplicated(list(keys))).any():
        raise ValueError(
            f"{tuple(frame.loc[twice, list(keys)].iloc[0])} occurs more than once. Average over "
            "seeds first, with the spread in low and high, or select the rows to draw."
        )
    if unknown := set(frame["source"]) - {"", *SOURCES}:
        raise ValueError(f"source {sorted(unknown)} given; one of {SOURCES} is needed.")
    for column in {"value", "low", "high"} & set(frame):
        check_range(frame[column].to_numpy(float), column)
    # Reported rows come first: they are complete and in the order of the paper, which sets the
    # order of the levels. Other sources may lack cells.
    frame = frame.sort_values(
        "source", key=lambda names: names.map(("", *SOURCES).index), kind="stable"
    )
    levels = [list(dict.fromkeys(frame[key])) for key in keys]
    run = frame[frame["value"].notna()]
    ends = [
        run[end].fillna(run["value"]) if end in run else run["value"] for end in ("low", "high")
    ]
    values = zip(run["value"], *ends, strict=True)
    return dict(
        zip(run[list(keys)].itertuples(index=False, name=None), values, strict=True)
    ), levels


def _bar_groups(ax: Axes, groups: list[list[Cell | None]], colour: list[str], slots: int) -> None:
    """Draw groups of bars; label each bar, group or panel that has no value with "not run"."""
    ax.set_xlim(-0.5, slots - 0.5)
    ax.grid(visible=False, axis="x")
    width = 0.84 / len(colour)
    if not any(cell for group in groups for cell in group):
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="bottom", color=GREY)
        return
    for x, group in enumerate(groups):
        if not any(group):
            _mark_not_run(ax, x)
            continue
        for i, cell in enumerate(group):
            at = x + (i - (len(group) - 1) / 2) * width
            if cell is None:
                _mark_not_run(ax, at)
                continue
            value, low, high = cell
            error = [[value - low], [high - value]] if low < value or value < high else None
            ax.bar(at, value, width * 0.92, color=colour[i], yerr=error, error_kw={"linewidth": 1})


def _mark_not_run(ax: Axes, x: float) -> None:
    ax.text(x, 0.03, NOT_RUN, rotation=90, ha="center", va="bottom", color=GREY, fontsize=8)
