"""Figures of scores: histograms with thresholds, AUC by epoch, tables of AUCs.

Each function returns a matplotlib ``Figure``, which a notebook shows as the value of a cell and
``figure.savefig(path)`` writes to a file.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

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
def score_histogram(
    scores: ArrayLike,
    labels: ArrayLike,
    thresholds: Mapping[str, float] | float | None = None,
    *,
    bins: int = 40,
) -> Figure:
    """Draw histograms of the scores of both classes, and thresholds as vertical lines.

    Args:
        scores: (N,) finite, higher is more abnormal.
        labels: (N,) bool, True is abnormal.
        thresholds: φ of Eq. 3: one value, or several by name. Images with a score right of φ are
            called abnormal.
        bins: Number of bins of equal width over the range of all scores.

    Returns:
        The figure. The height of a bar is a share of its class, so that classes of unequal size can
        be compared.

    Raises:
        ValueError: Unequal lengths, one class only, or scores or thresholds that are not finite.

    Example:
        >>> figure = score_histogram([1, 2, 3, 4], [False, False, True, True], 2.5)
        >>> figure.axes[0].get_legend().get_texts()[-1].get_text()
        'φ = 2.5'
    """
    scores, labels = _checked(scores, labels, "scores")
    named = (
        thresholds
        if isinstance(thresholds, Mapping)
        else {}
        if thresholds is None
        else {"φ": thresholds}
    )
    if not np.isfinite(list(named.values())).all():
        raise ValueError(f"thresholds={dict(named)} given; finite numbers are needed.")
    figure, (ax,) = panels(1, height=3.2)
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
    return figure


@styled
def auc_per_epoch(
    aucs: Mapping[str, Sequence[float] | None], chosen: Mapping[str, int] | None = None
) -> Figure:
    """Draw the AUC after each epoch, and mark the epoch that a protocol chose.

    Args:
        aucs: For each name the AUC (0…1) after epochs 1, 2, …. NaN leaves a gap; ``None`` for a
            series that was not run.
        chosen: For each name the chosen epoch, counted from 1. It is marked by a ring and its AUC.

    Returns:
        The figure.

    Raises:
        ValueError: No series, AUCs outside 0…1, or a chosen epoch without an AUC.

    Example:
        >>> figure = auc_per_epoch({"CCB": [0.6, 0.8]}, {"CCB": 2})
        >>> figure.axes[0].texts[0].get_text()
        '.800'
    """
    if not aucs:
        raise ValueError("No series given; at least one name with its AUC per epoch is needed.")
    if unknown := set(chosen or {}) - set(aucs):
        raise ValueError(
            f"chosen names {sorted(unknown)}, which aucs does not hold. aucs has {sorted(aucs)}."
        )
    figure, (ax,) = panels(1, height=3.2)
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
                f"chosen epoch {epoch} of {name!r} given; an epoch with an AUC is needed. Epochs 1 "
                f"to {len(series)} were given."
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
            f"{best:.3f}".removeprefix("0"),
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
    return figure


@styled
def auc_dots(table: pd.DataFrame) -> Figure:
    """Draw a table of AUCs as points: one line for each row, one colour and marker for each column.

    Args:
        table: AUCs (0…1), for example detectors as rows and variants of a data set as columns.

    Returns:
        The figure, with a dashed line at 0.5 (chance). AUCs below 0.5 are not inverted.

    Raises:
        ValueError: An empty table, or a value outside 0 to 1.

    Example:
        >>> figure = auc_dots(pd.DataFrame({"original": [0.8], "background": [0.5]}, index=["PCA"]))
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['PCA']
    """
    if table.empty:
        raise ValueError("An empty table was given; at least one row and one column are needed.")
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


def _checked(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    truth, values = np.asarray(labels), np.asarray(scores, dtype=float)
    if truth.ndim != 1 or truth.shape != values.shape or set(np.unique(truth)) != {0, 1}:
        raise ValueError(
            f"{name}: labels of shape {truth.shape} with values {np.unique(truth)[:5]} and scores "
            f"of shape {values.shape} given; two 1-D arrays of equal length are needed, and labels "
            "with both 0 (normal) and 1 (abnormal)."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name}: {(~np.isfinite(values)).sum()} scores are not finite. Leave their images out."
        )
    return values, truth.astype(bool)
