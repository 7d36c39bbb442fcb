"""Figures of the arithmetic: possible prevalences, operating points, and test sets that fit reported pairs.

Pairs are as `ccb_lib.reproduction.arithmetic.reported_pairs` gives them. Every function returns a matplotlib
``Figure`` that a notebook shows as the value of its cell and that ``figure.savefig(path)`` writes.
"""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ccb_lib.plots.style import GREY, MARKERS, METHOD_COLOURS, colours, panels, styled
from ccb_lib.reproduction.arithmetic import common_prevalence, operating_point, possible_prevalence
from ccb_lib.reproduction.names import display_name


@styled
def prevalence_intervals(pairs: pd.DataFrame, *, hue: str = "method") -> Figure:
    """Draw the possible prevalences of each pair as a bar, and the overlap of each data set as a band.

    Args:
        pairs: Columns ``dataset``, ``abnormal``, ``accuracy``, ``f1`` and the column that ``hue`` names.
        hue: What tells pairs of one class apart: ``"method"`` or ``"chain"``.

    Returns:
        The figure, a panel for each data set; no band where the bars have no point in common, and no bar for
        a pair that is possible at no prevalence.

    Raises:
        ValueError: A column is missing, or an accuracy or F1 is no rounded share.
    """
    _need(pairs, ("dataset", "abnormal", "accuracy", "f1", hue))
    shade = colours(list(dict.fromkeys(pairs[hue])))
    datasets = list(dict.fromkeys(pairs["dataset"]))
    figure, axes = panels(len(datasets), height=0.4 + 0.11 * len(pairs) / len(datasets), share_y=False)
    step = 0.8 / len(shade)
    for ax, dataset in zip(axes, datasets, strict=True):
        rows = pairs[pairs["dataset"] == dataset]
        classes = list(dict.fromkeys(rows["abnormal"]))
        for row in rows.to_dict("records"):
            interval = possible_prevalence(row["accuracy"], row["f1"])
            y = classes.index(row["abnormal"]) + (list(shade).index(row[hue]) - (len(shade) - 1) / 2) * step
            if interval is not None:
                ax.barh(y, interval.high - interval.low, step * 0.8, interval.low, color=shade[row[hue]])
        common = common_prevalence(zip(rows["accuracy"], rows["f1"], strict=True))
        title = display_name(dataset)
        if common is None:
            title += ": no common prevalence"
        else:
            ax.axvspan(*common, color="black", alpha=0.25, linewidth=0)
            title += f": all possible from {common.low:.3f} to {common.high:.3f}"
        ax.axvline(0.5, color="black", linewidth=1, linestyle="--")
        ax.set(xlim=(0, 1), ylim=(len(classes) - 0.5, -0.5), title=title)
        ax.set_yticks(range(len(classes)), [display_name(name) for name in classes])
        ax.grid(visible=False, axis="y")
    axes[-1].set_xlabel("share of abnormal images in the test set")
    handles = [Line2D([], [], color=colour, linewidth=5, label=name) for name, colour in shade.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, handlelength=1.2)
    return figure


@styled
def operating_points(pairs: pd.DataFrame, *, prevalence: float = 0.5) -> Figure:
    """Place each pair in the ROC plane, given the prevalence.

    Args:
        pairs: Columns ``dataset``, ``method``, ``abnormal``, ``accuracy``, ``f1``.
        prevalence: Share of abnormal images in the test sets.

    Returns:
        The figure, a panel for each data set. Below the diagonal, an image called abnormal is less often
        abnormal than one drawn at random.

    Raises:
        ValueError: A column is missing, or a pair cannot arise at that prevalence.
    """
    _need(pairs, ("dataset", "method", "abnormal", "accuracy", "f1"))
    datasets, methods = (list(dict.fromkeys(pairs[key])) for key in ("dataset", "method"))
    figure, axes = panels(1, len(datasets), height=3.3)
    for ax, dataset in zip(axes, datasets, strict=True):
        rows = pairs[pairs["dataset"] == dataset]
        shapes = dict(zip(dict.fromkeys(rows["abnormal"]), cycle(MARKERS), strict=False))
        ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        for row in rows.to_dict("records"):
            recall, alarms = operating_point(row["accuracy"], row["f1"], prevalence)
            look = {
                "color": METHOD_COLOURS.get(row["method"], GREY),
                "markeredgecolor": "white",
                "markersize": 8,
            }
            ax.plot(alarms, recall, shapes[row["abnormal"]], markeredgewidth=0.6, clip_on=False, zorder=3, **look)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=display_name(dataset), xlabel="false-alarm rate")
        ax.set(xticks=np.linspace(0, 1, 3), yticks=np.linspace(0, 1, 3))
        handles = [
            Line2D([], [], color=GREY, marker=m, linestyle="none", label=display_name(c)) for c, m in shapes.items()
        ]
        ax.legend(handles=handles, loc="lower right", handletextpad=0, borderpad=0, labelspacing=0.2)
    axes[0].set_ylabel("recall")
    handles = [
        Line2D([], [], color=METHOD_COLOURS.get(name, GREY), marker="o", linestyle="none", label=name)
        for name in methods
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, handletextpad=0.2)
    return figure


@styled
def attainable_counts(counts: Mapping[str, pd.Series], pairs: int, marked: Mapping[str, int]) -> Figure:
    """Show how many reported pairs are attainable as the number of normals varies, one panel a class.

    Args:
        counts: For each class, the number of attainable pairs, indexed by the number of normal images.
        pairs: How many pairs there are in each class.
        marked: For each class, the number of normals to mark.

    Returns:
        The figure.

    Raises:
        ValueError: A class has no mark inside its index.
    """
    figure, axes = panels(len(counts), height=1.35)
    for ax, (name, series) in zip(axes, counts.items(), strict=True):
        if marked.get(name) not in series.index:
            raise ValueError(f"marked={dict(marked)} given; {name!r} needs one of its numbers of normals.")
        at = series.index == marked[name]
        ax.bar(series.index[~at], series[~at], width=1.0, color="#b9d3e6")
        ax.bar(
            series.index[at],
            series[at],
            width=max(1.0, len(series) / 120),
            color=METHOD_COLOURS["SkipGANomaly"],
        )
        ax.set(ylim=(0, pairs), xlim=(series.index[0] - 1, series.index[-1] + 1))
        ax.set_title(f"{display_name(name)}: {series[at].iloc[0]} of {pairs} at {marked[name]} normals")
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.grid(visible=False, axis="x")
    axes[-1].set_xlabel("normal images in the test set")
    figure.supylabel("attainable pairs", fontsize=10)
    return figure


def _need(pairs: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if missing := [column for column in columns if column not in pairs]:
        raise ValueError(f"The pairs have no column {missing}; they have {list(pairs)}. See reported_pairs().")
