"""Figures of the studies: differences between arms, and the signal that skips deliver."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ccb_lib.plots.style import GREY, MARKERS, PALETTE, colours, panels, styled
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.studies import MARGIN


@styled
def difference_forest(frame: pd.DataFrame, *, margin: float = MARGIN) -> Figure:
    """Draw differences in AUC with their intervals, one line an arm and class.

    Args:
        frame: Of `ccb_lib.reproduction.comparisons.differences`.
        margin: Half-width of the band within which arms are called equal.

    Returns:
        One panel an arm; right of 0 the arm is better than the one that all were held against. The macro is bold.

    Raises:
        ValueError: There is nothing to draw.
    """
    if frame.empty:
        raise ValueError("No differences given: run the study for both arms first (ccb study skips --run).")
    arms = list(frame["arm"].unique())
    lines = max(len(frame[frame["arm"] == arm]) for arm in arms)
    figure, axes = panels(len(arms), height=0.6 + 0.24 * lines, share_y=False)
    for ax, arm in zip(axes, arms, strict=True):
        part = frame[frame["arm"] == arm].reset_index(drop=True)
        ax.axvspan(-margin, margin, color=PALETTE[8], alpha=0.3, linewidth=0)
        ax.axvline(0, color=GREY, linewidth=1)
        for row in part.itertuples():
            bold = row.abnormal == "macro"
            ax.plot([row.low, row.high], [row.Index] * 2, color=PALETTE[0], linewidth=2.6 if bold else 1.4)
            ax.plot(row.difference, row.Index, MARKERS[1 if bold else 0], color=PALETTE[0], markersize=6 if bold else 4)
        ax.set_yticks(range(len(part)), [display_name(name) for name in part["abnormal"]])
        ax.set_ylim(len(part) - 0.5, -0.5)
        ax.set_title(arm)
    ends = [abs(value) for name in ("low", "high") for value in frame[name]]
    for ax in axes:
        ax.set_xlim(-1.05 * max(*ends, margin), 1.05 * max(*ends, margin))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[-1].set_xlabel("difference in AUC; grey: the margin")
    return figure


@styled
def signal_lines(frame: pd.DataFrame, value: str = "spread") -> Figure:
    """Draw what each skip delivered in the last epoch, by chain length.

    Args:
        frame: Of `ccb_lib.chapters.chains.skip_signal`, of one setting.
        value: ``"signal"``, ``"spread"`` or ``"gradient"``.

    Returns:
        One panel for each start of the chains; a line a skip, on a logarithmic axis. What is 0, or under a millionth of
        the largest, has no place on it, and is drawn as a cross at the foot.

    Raises:
        ValueError: There is nothing to draw.
    """
    if frame.empty:
        raise ValueError("No signals given: run chains first (ccb table 6 --run).")
    last = frame[frame["epoch"] == frame["epochs"]]
    starts = sorted(last["chain_init"].unique(), reverse=True)
    chains = sorted(last["chain"].unique(), key=lambda chain: int(chain.split("-")[0]))
    figure, axes = panels(len(starts), height=2.2)
    colour = colours([f"skip {k}" for k in range(1, 5)])
    least = 1e-6 * last[value].max()
    foot = last.loc[last[value] > least, value].min() / 3
    for ax, start in zip(axes, starts, strict=True):
        for skip, part in last[last["chain_init"] == start].groupby("skip"):
            means = part.groupby("chain")[value].mean().reindex(chains)
            name, at = f"skip {skip}", range(len(chains))
            ax.plot(at, means.where(means > least), marker=MARKERS[skip - 1], color=colour[name], label=name)
            dead = [k for k in at if means.iloc[k] <= least]
            ax.plot(
                [k + 0.08 * (skip - 2.5) for k in dead], [foot] * len(dead), "x", color=colour[name]
            )  # side by side
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xticks(range(len(chains)), chains)
        ax.set_ylabel(f"{value}, rms")
        ax.set_title({"he": "chains from He", "dcgan": "chains from N(0, 0.02)"}[start])
    axes[-1].set_xlabel("blocks in each chain, shallow to deep")
    axes[0].legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.1), columnspacing=1, handletextpad=0.4)
    return figure
