"""The waterfall: one panel a network, from the reported number to a clean one."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccb_lib.plots.style import GREY, METHOD_COLOURS, PALETTE, panels, styled
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.runs import CLASSES
from ccb_lib.reproduction.tables import SHOWN_NAMES
from ccb_lib.reproduction.waterfall import REPORTED, STEPS, macro

_NAMES = {"auc": "AUC", "accuracy": "accuracy", "f1": "F1"}


@styled
def waterfall_figure(frame: pd.DataFrame) -> Figure:
    """Draw waterfalls: the mean over classes with its spread over seeds, and each class in grey.

    Args:
        frame: Of `ccb_lib.reproduction.waterfall.waterfall`, one measure; several tables' frames may
            be joined.

    Returns:
        One panel a data set and method. The bar around a mean is one standard deviation over seeds,
        drawn for two seeds or more. A step that was not reported, or of which no scores are stored,
        is named and has no mark.

    Raises:
        ValueError: There is nothing to draw, or several measures are mixed.

    Example:
        >>> from ccb_lib.reproduction.waterfall import waterfall
        >>> len(waterfall_figure(waterfall(4)).axes) >= 3
        True
    """
    if frame.empty:
        raise ValueError("No runs of networks given: run some first (ccb table 4 --run).")
    if frame["metric"].nunique() > 1:
        raise ValueError(f"Several measures given ({', '.join(frame['metric'].unique())}); draw one at a time.")
    metric = frame["metric"].iloc[0]
    steps = STEPS[metric]
    groups = list(frame.groupby(["dataset", "method"], sort=False))
    figure, axes = panels(len(groups), height=1.95)
    for ax, ((dataset, method), part) in zip(axes, groups, strict=True):
        _panel(ax, part, steps, METHOD_COLOURS.get(SHOWN_NAMES.get(method, method), PALETTE[0]))
        several = frame["dataset"].nunique() > 1
        ax.set_title(f"{display_name(dataset)}, {_title(part)}" if several else _title(part), fontsize=9)
        ax.set_ylabel(_NAMES[metric])
        ax.set_xticks(range(len(steps)), [])
    names = [step.replace(", ", "\n") for step in steps]
    axes[-1].set_xticks(range(len(steps)), names, fontsize=8)
    return figure


def _panel(ax: Axes, part: pd.DataFrame, steps: tuple[str, ...], colour: str) -> None:
    classes = part.groupby(["abnormal", "step"])["value"].mean().unstack("step").reindex(columns=list(steps))
    for line in classes.to_numpy():
        ax.plot(range(len(steps)), line, color="#bbbbbb", linewidth=0.8, marker=".", markersize=3)
    found = macro(part).set_index("step").reindex(list(steps))
    spread = found["spread"].fillna(0).to_numpy()
    ax.errorbar(range(len(steps)), found["mean"], spread, color=colour, marker="o", markersize=5, capsize=3, zorder=3)
    for at, mean in enumerate(found["mean"]):
        if np.isnan(mean):
            said = "not\nreported" if steps[at] == REPORTED else "not\nstored"
            ax.text(at, 0.04, said, ha="center", va="bottom", fontsize=8, color=GREY)
        else:
            below = mean > 0.85
            ax.annotate(
                f"{mean:.3f}".lstrip("0"), (at, mean), (0, -6 if below else 6), textcoords="offset points",
                ha="center", va="top" if below else "bottom", fontsize=8.5,
            )  # fmt: skip
    ax.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    ax.set(xlim=(-0.5, len(steps) - 0.5), ylim=(0, 1.02), yticks=(0, 0.25, 0.5, 0.75, 1))
    ax.grid(visible=False, axis="x")


def _title(part: pd.DataFrame) -> str:
    """Name a panel's runs: method, epochs, width, seeds, classes, device."""
    first = part.iloc[0]
    seeds, classes = part["seed"].nunique(), part["abnormal"].nunique()
    wanted = len(CLASSES[first["dataset"]])
    counted = f"{seeds} seed{'s' * (seeds > 1)}" + (f", {classes} of {wanted} classes" if classes < wanted else "")
    name = SHOWN_NAMES.get(first["method"], first["method"])
    return f"{name}\n{first['epochs']:g} epochs, width {first['width']:g}, {counted}, {first['device']}"
