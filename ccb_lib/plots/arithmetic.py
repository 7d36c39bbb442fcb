"""Figures of what reported pairs of accuracy and F1 imply about the test sets.

They show possible prevalences, operating points and attainable pairs. The functions take pairs as
`ccb_lib.reproduction.reported.reported_pairs` returns them. Each returns a matplotlib ``Figure``,
which a notebook shows as the value of a cell and ``figure.savefig(path)`` writes to a file.
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
    """Draw the prevalences possible for each pair as bars, and their overlap as a band.

    Args:
        pairs: Columns ``dataset``, ``abnormal``, ``accuracy``, ``f1``, and the column that ``hue``
            names.
        hue: The column that sets the colour of a bar: ``"method"`` or ``"chain"``.

    Returns:
        The figure, one panel for each data set. A pair that is possible at no prevalence has no
        bar. A data set whose bars have no point in common has no band.

    Raises:
        ValueError: A column is missing, or an accuracy or F1 is not a rounded share.

    Example:
        >>> from ccb_lib.reproduction.reported import reported_pairs
        >>> len(prevalence_intervals(reported_pairs()).axes) > 0
        True
    """
    _require_columns(pairs, ("dataset", "abnormal", "accuracy", "f1", hue))
    shade = colours(list(dict.fromkeys(pairs[hue])))
    datasets = list(dict.fromkeys(pairs["dataset"]))
    figure, axes = panels(
        len(datasets), height=0.4 + 0.11 * len(pairs) / len(datasets), share_y=False
    )
    step = 0.8 / len(shade)
    for ax, dataset in zip(axes, datasets, strict=True):
        rows = pairs[pairs["dataset"] == dataset]
        classes = list(dict.fromkeys(rows["abnormal"]))
        for row in rows.to_dict("records"):
            interval = possible_prevalence(row["accuracy"], row["f1"])
            y = (
                classes.index(row["abnormal"])
                + (list(shade).index(row[hue]) - (len(shade) - 1) / 2) * step
            )
            if interval is not None:
                ax.barh(
                    y, interval.high - interval.low, step * 0.8, interval.low, color=shade[row[hue]]
                )
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
    handles = [
        Line2D([], [], color=colour, linewidth=5, label=name) for name, colour in shade.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, handlelength=1.2)
    return figure


@styled
def operating_points(pairs: pd.DataFrame, *, prevalence: float = 0.5) -> Figure:
    """Draw the operating point of each pair in the ROC plane, at a given prevalence.

    Args:
        pairs: Columns ``dataset``, ``method``, ``abnormal``, ``accuracy``, ``f1``.
        prevalence: Share of abnormal images in the test sets.

    Returns:
        The figure, one panel for each data set. At a point below the diagonal, the share of
        abnormal images among those called abnormal is less than the prevalence.

    Raises:
        ValueError: A column is missing, or a pair cannot arise at that prevalence.

    Example:
        >>> from ccb_lib.reproduction.reported import reported_pairs
        >>> len(operating_points(reported_pairs()).axes) > 0
        True
    """
    _require_columns(pairs, ("dataset", "method", "abnormal", "accuracy", "f1"))
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
            ax.plot(
                alarms,
                recall,
                shapes[row["abnormal"]],
                markeredgewidth=0.6,
                clip_on=False,
                zorder=3,
                **look,
            )
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
            title=display_name(dataset),
            xlabel="false-alarm rate",
        )
        ax.set(xticks=np.linspace(0, 1, 3), yticks=np.linspace(0, 1, 3))
        handles = [
            Line2D([], [], color=GREY, marker=m, linestyle="none", label=display_name(c))
            for c, m in shapes.items()
        ]
        ax.legend(
            handles=handles, loc="lower right", handletextpad=0, borderpad=0, labelspacing=0.2
        )
    axes[0].set_ylabel("recall")
    handles = [
        Line2D(
            [], [], color=METHOD_COLOURS.get(name, GREY), marker="o", linestyle="none", label=name
        )
        for name in methods
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, handletextpad=0.2)
    return figure


@styled
def attainable_counts(
    counts: Mapping[str, pd.Series], pairs: int, marked: Mapping[str, int]
) -> Figure:
    """Draw the number of attainable pairs against the number of normal images, one panel a class.

    Args:
        counts: For each class, the number of attainable pairs, indexed by the number of normal
            images.
        pairs: The number of reported pairs of each class.
        marked: For each class, the number of normal images to highlight.

    Returns:
        The figure.

    Raises:
        ValueError: The number to highlight is missing, or is not in the index of its class.

    Example:
        >>> counts = {"df": pd.Series([3, 7], index=[114, 115])}
        >>> attainable_counts(counts, 9, {"df": 115}).axes[0].get_title(loc="left")
        'df: 7 of 9 at 115 normals'
    """
    figure, axes = panels(len(counts), height=1.35)
    for ax, (name, series) in zip(axes, counts.items(), strict=True):
        if marked.get(name) not in series.index:
            raise ValueError(
                f"marked={dict(marked)} given; {name!r} needs one of its numbers of normals."
            )
        at = series.index == marked[name]
        ax.bar(series.index[~at], series[~at], width=1.0, color="#b9d3e6")
        ax.bar(
            series.index[at],
            series[at],
            width=max(1.0, len(series) / 120),
            color=METHOD_COLOURS["SkipGANomaly"],
        )
        ax.set(ylim=(0, pairs), xlim=(series.index[0] - 1, series.index[-1] + 1))
        ax.set_title(
            f"{display_name(name)}: {series[at].iloc[0]} of {pairs} at {marked[name]} normals"
        )
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.grid(visible=False, axis="x")
    axes[-1].set_xlabel("normal images in the test set")
    figure.supylabel("attainable pairs", fontsize=10)
    return figure


def _require_columns(pairs: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if missing := [column for column in columns if column not in pairs]:
        raise ValueError(
            f"The pairs have no column {missing}; they have {list(pairs)}. See reported_pairs()."
        )
