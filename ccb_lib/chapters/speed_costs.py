"""The cost of a training step: growth of its time with the settings, number of operations."""

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ccb_lib.chapters.speed import missing, quartiles, steps_of_group
from ccb_lib.plots.style import GREY, MARKERS, NOT_RUN, PALETTE, panels, styled
from ccb_lib.reproduction.registry import PAPER_METHODS

# Groups of measurements in which one setting varies: its column in the frame, and its axis label.
AXES = {
    "image_size": ("image_size", "image size, px"),
    "chain": ("depth", "blocks in all four chains"),
    "batch": ("batch", "batch"),
    "detectors": ("detectors", "detectors"),
}
_COLOURS = {"plain": PALETTE[1], "fast": PALETTE[0], "compiled": PALETTE[2]}


@styled
def cost_figure(frame: pd.DataFrame, kind: str) -> Figure | Markdown:
    """Draw the time of CCB's training step against image size, chains, batch size and detectors.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        The figure: one panel a setting, one line a path, medians with quartiles on a logarithmic
        scale. If nothing was measured, the command that measures it.

    Example:
        >>> from ccb_lib.chapters.speed import measurements
        >>> cost_figure(measurements("/nowhere"), "CPU").data.startswith("*not run*")
        True
    """
    groups = {name: steps_of_group(frame, kind, name) for name in AXES}
    if all(group.empty for group in groups.values()):
        return missing(kind)
    figure, axes = panels(2, 2, height=2.3, share_y=False)
    paths = [
        path for path in _COLOURS if any(path in set(group["path"]) for group in groups.values())
    ]
    for ax, (name, (column, label)) in zip(axes, AXES.items(), strict=True):
        for number, path in enumerate(paths):
            group = groups[name]
            _line(
                ax, group[group["path"] == path].sort_values(column), column, path, MARKERS[number]
            )
        ax.set(xlabel=label, yscale="log")
        ax.yaxis.set(
            major_locator=LogLocator(subs=(1, 2, 5)),
            major_formatter="{x:g}",
            minor_formatter=NullFormatter(),
        )
        ax.set_ylabel("ms a step" if name in ("image_size", "batch") else "")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(paths)
    )
    return figure


def _line(ax: Axes, line: pd.DataFrame, name: str, path: str, marker: str) -> None:
    """Draw medians with quartiles as error bars; the positions are equidistant."""
    if line.empty:
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", color=GREY)
        return
    median, low, high = np.array(quartiles(line)).T
    at = range(len(line))
    errors = np.clip([median - low, high - median], 0, None)
    ax.errorbar(at, median, errors, marker=marker, color=_COLOURS[path], label=path, capsize=2)
    ax.set_xticks(at, [f"{value:g}" for value in line[name]])


def growth(frame: pd.DataFrame, kind: str) -> pd.DataFrame | Markdown:
    """Return how the time of a step on the fast path grows along each panel of `cost_figure`.

    Args:
        frame: From `measurements`.
        kind: ``"CPU"`` or ``"GPU"``.

    Returns:
        Rows (along, setting): ``ms a step``, and ``times``, the ratio to the first setting of the
        panel. If nothing was measured, the command that measures it.

    Example:
        >>> from ccb_lib.chapters.speed import measurements
        >>> growth(measurements("/nowhere"), "CPU").data.startswith("*not run*")
        True
    """
    rows = []
    for name, (column, label) in AXES.items():
        line = steps_of_group(frame[frame["path"] == "fast"], kind, name).sort_values(column)
        for _, row in line.iterrows():
            times = row["median"] / line["median"].iloc[0]
            rows.append((label, f"{row[column]:g}", row["median"], times))
    if not rows:
        return missing(kind)
    table = pd.DataFrame(rows, columns=["along", "setting", "ms a step", "times"])
    return table.set_index(["along", "setting"]).round(2)


def operations(frame: pd.DataFrame) -> pd.DataFrame | Markdown:
    """Return the number of operations in a training step, by method and path.

    Args:
        frame: From `measurements`.

    Returns:
        Counts of the last stored measurement. If nothing was measured, the command that measures
        it.

    Example:
        >>> from ccb_lib.chapters.speed import measurements
        >>> operations(measurements("/nowhere")).data.startswith("*not run*")
        True
    """
    found = frame[frame["what"] == "operations"]
    if found.empty:
        return missing("CPU")
    table = found.pivot_table(
        index="method", columns="path", values="median", aggfunc="last", sort=False
    )
    return (
        table.astype(int)
        .reindex([m for m in PAPER_METHODS if m in table.index])
        .rename_axis(columns="a step")
    )
