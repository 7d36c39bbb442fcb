"""Figures of scores: ROC curves, histograms with thresholds, AUC epoch by epoch.

Every function returns a matplotlib ``Figure`` that a notebook shows as the value of its cell and that
``figure.savefig(path)`` writes; all of them draw into ``ax`` if it is given.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from ccb_lib.plots.style import (
    CLASS_COLOURS,
    GREY,
    MARKERS,
    NOT_RUN,
    check_range,
    colours,
    panels,
    styled,
)


@styled
def roc_bundle(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike] | None], *, ax: Axes | None = None
) -> Figure:
    """Several ROC curves in one square, each with its AUC in the legend.

    Args:
        curves: Name and (scores, labels): (N,) finite scores, higher is more abnormal, and (N,) bool, True is
            abnormal. ``None`` for one that has not been run.
        ax: Where to draw.

    Returns:
        The figure. AUCs under .5 stay as they are.

    Raises:
        ValueError: No curves, lengths that differ, one class only, or scores that are not finite.
    """
    if not curves:
        raise ValueError("No curves given; at least one name with (scores, labels) is needed.")
    ax = ax or panels(1, height=5.4)[1][0]
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance (.500)")
    dashes = cycle(("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))))
    for (name, colour), dash in zip(colours(curves).items(), dashes, strict=False):
        curve = curves[name]
        if curve is None:
            ax.plot([], [], color=colour, linestyle=dash, label=f"{name} ({NOT_RUN})")
            continue
        scores, labels = _labelled(*curve, name)
        auc = roc_auc_score(labels, scores)
        ax.plot(
            *roc_curve(labels, scores)[:2],
            color=colour,
            linestyle=dash,
            label=f"{name} ({_three(auc)})",
        )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="false-alarm rate", ylabel="recall")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, title="AUC in brackets")
    return _figure_of(ax)


@styled
def score_histogram(
    scores: ArrayLike,
    labels: ArrayLike,
    thresholds: Mapping[str, float] | float | None = None,
    *,
    bins: int = 40,
    ax: Axes | None = None,
) -> Figure:
    """The scores of both classes, and where thresholds cut them.

    Args:
        scores: (N,) finite, higher is more abnormal.
        labels: (N,) bool, True is abnormal.
        thresholds: φ of Eq. 3, one or several by name; images to its right are called abnormal.
        bins: Number of equal bins over all scores.
        ax: Where to draw.

    Returns:
        The figure. Heights are shares of the class's own images, so classes of unequal size compare.

    Raises:
        ValueError: Lengths that differ, one class only, or scores or thresholds that are not finite.
    """
    scores, labels = _labelled(scores, labels, "scores")
    named = (
        thresholds
        if isinstance(thresholds, Mapping)
        else {}
        if thresholds is None
        else {"φ": thresholds}
    )
    if not np.isfinite(list(named.values())).all():
        raise ValueError(f"thresholds={dict(named)} given; finite numbers are needed.")
    ax = ax or panels(1, height=3.2)[1][0]
    edges = np.histogram_bin_edges(scores, bins)
    for name, of in (("normal", scores[~labels]), ("abnormal", scores[labels])):
        look = {"color": CLASS_COLOURS[name], "weights": np.full(len(of), 1 / len(of))}
        ax.hist(
            of, edges, histtype="stepfilled", alpha=0.35, label=f"{name} (n = {len(of):,})", **look
        )
        ax.hist(of, edges, histtype="step", linewidth=1.3, **look)
    for (name, phi), dash in zip(named.items(), cycle(("-", "--", ":", "-.")), strict=False):
        ax.axvline(phi, color="black", linewidth=1.3, linestyle=dash, label=f"{name} = {phi:.3g}")
    ax.set(xlabel="anomaly score (higher is more abnormal)", ylabel="share of the class")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return _figure_of(ax)


@styled
def auc_per_epoch(
    aucs: Mapping[str, Sequence[float] | None],
    chosen: Mapping[str, int] | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """AUC after each epoch, the epoch that a protocol chose marked.

    Args:
        aucs: Name and AUC (0…1) after epochs 1, 2, …; NaN leaves a gap, ``None`` has not been run.
        chosen: Name and chosen epoch, counted from 1; a ring and its AUC mark it.
        ax: Where to draw.

    Returns:
        The figure.

    Raises:
        ValueError: No series, AUCs outside 0…1, or a chosen epoch that a series does not have.
    """
    if not aucs:
        raise ValueError("No series given; at least one name with its AUC per epoch is needed.")
    if unknown := set(chosen or {}) - set(aucs):
        raise ValueError(
            f"chosen names {sorted(unknown)}, which aucs does not hold: {sorted(aucs)}."
        )
    ax = ax or panels(1, height=3.2)[1][0]
    ax.axhline(0.5, color=GREY, linestyle="--", linewidth=1, label="chance")
    for (name, colour), marker in zip(colours(aucs).items(), cycle(MARKERS), strict=False):
        series = np.array([] if aucs[name] is None else aucs[name], dtype=float)
        check_range(series, f"AUCs of {name!r}")
        run = series.size and not np.isnan(series).all()
        ax.plot(
            np.arange(1, len(series) + 1), series, color=colour, marker=marker, markersize=4,
            label=name if run else f"{name} ({NOT_RUN})",
        )  # fmt: skip
        if not (chosen and name in chosen):
            continue
        epoch = chosen[name]
        if not 1 <= epoch <= len(series) or np.isnan(series[epoch - 1]):
            raise ValueError(
                f"chosen epoch {epoch} of {name!r} given; it has epochs 1 to {len(series)} that ran."
            )
        best = series[epoch - 1]
        ax.plot(
            epoch,
            best,
            "o",
            markersize=12,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=2,
        )
        above = (0, 10) if best < 0.9 else (0, -18)
        ax.annotate(
            _three(best),
            (epoch, best),
            above,
            textcoords="offset points",
            ha="center",
            color="black",
        )
    if chosen:
        ring = {
            "marker": "o",
            "markersize": 9,
            "markerfacecolor": "none",
            "markeredgecolor": "black",
        }
        ax.plot([], [], linestyle="none", label="chosen epoch", **ring)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel="AUC", ylim=(0, 1.02))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return _figure_of(ax)


@styled
def auc_dots(table: pd.DataFrame) -> Figure:
    """Draw a table of AUCs: one line of points for each row, one colour and marker for each column.

    Args:
        table: AUCs, 0 to 1, for example detectors as rows and variants of a data set as columns.

    Returns:
        The figure, with a line at 0.5, which is chance. AUCs under 0.5 stay as they are.

    Raises:
        ValueError: An empty table, or a value outside 0 to 1.

    Example:
        >>> figure = auc_dots(pd.DataFrame({"original": [0.8], "background": [0.5]}, index=["PCA"]))
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['PCA']
    """
    if table.empty:
        raise ValueError("An empty table given; at least one row and one column are needed.")
    check_range(table.to_numpy(dtype=float), "AUC")
    figure, (axis,) = panels(1, height=1.1 + 0.32 * len(table))
    rows = np.arange(len(table))
    axis.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    for (name, colour), marker in zip(
        colours(list(table.columns)).items(), cycle(MARKERS), strict=False
    ):
        axis.plot(
            table[name], rows, linestyle="none", marker=marker, color=colour, label=name, alpha=0.9
        )
    axis.set_yticks(rows, table.index)
    axis.set(xlim=(0, 1), ylim=(len(table) - 0.5, -0.5), xlabel="AUC")
    figure.legend(loc="outside lower center", ncols=min(4, len(table.columns)))
    return figure


def _labelled(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    truth, values = np.asarray(labels), np.asarray(scores, dtype=float)
    if truth.ndim != 1 or truth.shape != values.shape or set(np.unique(truth)) != {0, 1}:
        raise ValueError(
            f"{name}: labels of shape {truth.shape} with values {np.unique(truth)[:5]} and scores of shape "
            f"{values.shape} given; one axis of equal length is needed, and both 0 (normal) and 1 (abnormal)."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: {(~np.isfinite(values)).sum()} scores are not finite. Leave their images out."
        )
    return values, truth.astype(bool)


def _three(auc: float) -> str:
    return f"{auc:.3f}".removeprefix("0")


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
