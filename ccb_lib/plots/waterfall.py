"""The waterfall figure: a measure from the reported value step by step to the clean protocol."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ccb_lib.plots.style import GREY, METHOD_COLOURS, PALETTE, panels, styled
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.waterfall import REPORTED, STEPS, macro, runs_of_rows


@styled
def waterfall_figure(frame: pd.DataFrame) -> Figure:
    """Draw the waterfall of each network: the mean over classes, and each class in grey.

    Args:
        frame: Rows of one measure, as `ccb_lib.reproduction.waterfall.waterfall` returns them. The
            frames of several tables may be joined.

    Returns:
        The figure, one panel for each data set and method. Error bars are one standard deviation
        over seeds; they are drawn for two seeds or more. A step without a value is labelled "not
        reported" or "not stored".

    Raises:
        ValueError: The frame has no rows or holds several measures.

    Example:
        >>> from ccb_lib.reproduction.waterfall import waterfall
        >>> len(waterfall_figure(waterfall(4)).axes) >= 3
        True
    """
    if frame.empty:
        raise ValueError("No runs of networks given. Run some first (ccb table 4 --run).")
    if frame["metric"].nunique() > 1:
        raise ValueError(
            f"Several measures given ({', '.join(frame['metric'].unique())}); draw one at a time."
        )
    metric = frame["metric"].iloc[0]
    steps = STEPS[metric]
    groups = list(frame.groupby(["dataset", "method"], sort=False))
    figure, axes = panels(len(groups), height=1.95)
    for ax, ((dataset, method), part) in zip(axes, groups, strict=True):
        _panel(ax, part, steps, METHOD_COLOURS.get(display_name(method), PALETTE[0]))
        several = frame["dataset"].nunique() > 1
        ax.set_title(
            f"{display_name(dataset)}, {_title(part)}" if several else _title(part), fontsize=9
        )
        ax.set_ylabel(display_name(metric))
        ax.set_xticks(range(len(steps)), [])
    names = [step.replace(", ", "\n") for step in steps]
    axes[-1].set_xticks(range(len(steps)), names, fontsize=9 if len(steps) < 6 else 8)
    return figure


def _panel(ax: Axes, part: pd.DataFrame, steps: tuple[str, ...], colour: str) -> None:
    classes = (
        part.groupby(["abnormal", "step"])["value"]
        .mean()
        .unstack("step")
        .reindex(columns=list(steps))
    )
    for line in classes.to_numpy():  # a grey that also shows when the dark theme inverts it
        ax.plot(range(len(steps)), line, color="#8c8c8c", linewidth=0.8, marker=".", markersize=3)
    found = macro(part).set_index("step").reindex(list(steps))
    spread = found["spread"].fillna(0).to_numpy()
    ax.errorbar(
        range(len(steps)),
        found["mean"],
        spread,
        color=colour,
        marker="o",
        markersize=5,
        capsize=3,
        zorder=3,
    )
    for at, mean in enumerate(found["mean"]):
        if np.isnan(mean):
            label = "not\nreported" if steps[at] == REPORTED else "not\nstored"
            ax.text(at, 0.04, label, ha="center", va="bottom", fontsize=8, color=GREY)
        else:
            below = mean > 0.85
            ax.annotate(
                f"{mean:.3f}".lstrip("0"), (at, mean), (0, -6 if below else 6),
                textcoords="offset points", ha="center", va="top" if below else "bottom",
                fontsize=9, zorder=4,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
    ax.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    ax.set(xlim=(-0.5, len(steps) - 0.5), ylim=(0, 1.02), yticks=(0, 0.25, 0.5, 0.75, 1))
    ax.grid(visible=False, axis="x")


def _title(part: pd.DataFrame) -> str:
    """Return the title of a panel: the method and its runs."""
    return f"{display_name(part['method'].iloc[0])}\n{runs_of_rows(part)}"
