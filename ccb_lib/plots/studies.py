"""Figures of the studies: differences between arms, and the signals of skip connections."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ccb_lib.plots.style import GREY, MARKERS, PALETTE, colours, panels, styled
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.studies import MARGIN


@styled
def difference_forest(frame: pd.DataFrame) -> Figure:
    """Draw differences in AUC with their confidence intervals, one line for each class of an arm.

    Args:
        frame: Differences, as `ccb_lib.reproduction.comparisons.differences` returns them.

    Returns:
        The figure, one panel an arm. Positive differences mean that the arm has a higher AUC than
        the reference arm. The mean over classes (macro) is bold. Within the grey band, `MARGIN` on
        either side of 0, arms are called equal.

    Raises:
        ValueError: The frame has no rows.

    Example:
        >>> row = {"arm": "ccb", "abnormal": "df", "difference": 0.01, "low": -0.02, "high": 0.04}
        >>> difference_forest(pd.DataFrame([row])).axes[0].get_title(loc="left")
        'ccb'
    """
    if frame.empty:
        raise ValueError(
            "No differences given. Run the study for both arms first (ccb study skips --run)."
        )
    arms = list(frame["arm"].unique())
    lines = max(len(frame[frame["arm"] == arm]) for arm in arms)
    figure, axes = panels(len(arms), height=0.6 + 0.24 * lines, share_y=False)
    for ax, arm in zip(axes, arms, strict=True):
        part = frame[frame["arm"] == arm].reset_index(drop=True)
        ax.axvspan(-MARGIN, MARGIN, color=PALETTE[8], alpha=0.3, linewidth=0)
        ax.axvline(0, color=GREY, linewidth=1)
        for row in part.itertuples():
            bold = row.abnormal == "macro"
            ax.plot(
                [row.low, row.high],
                [row.Index] * 2,
                color=PALETTE[0],
                linewidth=2.6 if bold else 1.4,
            )
            ax.plot(
                row.difference,
                row.Index,
                MARKERS[1 if bold else 0],
                color=PALETTE[0],
                markersize=6 if bold else 4,
            )
        ax.set_yticks(range(len(part)), [display_name(name) for name in part["abnormal"]])
        ax.set_ylim(len(part) - 0.5, -0.5)
        ax.set_title(arm)
    ends = [abs(value) for name in ("low", "high") for value in frame[name]]
    for ax in axes:
        ax.set_xlim(-1.05 * max(*ends, MARGIN), 1.05 * max(*ends, MARGIN))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[-1].set_xlabel("difference in AUC; grey: the margin")
    return figure


@styled
def signal_lines(frame: pd.DataFrame, value: str = "spread") -> Figure:
    """Draw the output of each skip connection in the last epoch against the length of the chains.

    Args:
        frame: Rows of one setting, as `ccb_lib.chapters.chains.skip_signal` returns them.
        value: The column to draw: ``"signal"``, ``"spread"`` or ``"gradient"``.

    Returns:
        The figure: one panel for each initialisation of the chains, one line a skip, on a
        logarithmic axis. Values of 0, or below a millionth of the largest, are drawn as crosses at
        the bottom.

    Raises:
        ValueError: The frame has no rows.

    Example:
        >>> row = {"epoch": 1, "epochs": 1, "chain_init": "he", "chain": "4-3-2-1", "skip": 1}
        >>> signal_lines(pd.DataFrame([{**row, "spread": 0.5}])).axes[0].get_ylabel()
        'spread, rms'
    """
    if frame.empty:
        raise ValueError("No signals given. Run the chains first (ccb table 6 --run).")
    last = frame[frame["epoch"] == frame["epochs"]]
    starts = sorted(last["chain_init"].unique(), reverse=True)
    chains = sorted(last["chain"].unique(), key=lambda chain: int(chain.split("-")[0]))
    figure, axes = panels(len(starts), height=2.2)
    colour = colours([f"skip {k}" for k in range(1, 5)])
    least = 1e-6 * last[value].max()  # smaller values would stretch the logarithmic axis
    foot = last.loc[last[value] > least, value].min() / 3
    for ax, start in zip(axes, starts, strict=True):
        for skip, part in last[last["chain_init"] == start].groupby("skip"):
            means = part.groupby("chain")[value].mean().reindex(chains)
            name, at = f"skip {skip}", range(len(chains))
            ax.plot(
                at,
                means.where(means > least),
                marker=MARKERS[skip - 1],
                color=colour[name],
                label=name,
            )
            dead = [k for k in at if means.iloc[k] <= least]
            # Crosses of several skips at one length are shifted so that they do not overlap.
            ax.plot(
                [k + 0.08 * (skip - 2.5) for k in dead], [foot] * len(dead), "x", color=colour[name]
            )
        ax.set_yscale("log")
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xticks(range(len(chains)), chains)
        ax.set_ylabel(f"{value}, rms")
        ax.set_title(f"chains from {display_name(start)}")
    axes[-1].set_xlabel("blocks in each chain, shallow to deep")
    axes[0].legend(
        ncols=4, loc="lower left", bbox_to_anchor=(0, 1.1), columnspacing=1, handletextpad=0.4
    )
    return figure
