"""Figures of images and of the training losses. No display is needed."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ccb_lib.io.images import as_images
from ccb_lib.plots.style import CLASS_COLOURS, GREY, STYLE, WIDTH


def use_style() -> None:
    """Set the style of the book for all later figures.

    Example:
        >>> with plt.rc_context():  # restores the settings afterwards
        ...     use_style()
        ...     plt.rcParams["axes.titlelocation"]
        'left'
    """
    plt.rcParams.update(STYLE)


def image_grid(rows: Mapping[str, Any], *, titles: Sequence[str] = ()) -> Figure:
    """Draw rows of images: originals, reconstructions, error maps.

    Args:
        rows: For each row a label and its images: anything that `as_images` takes, or float
            (N, H, W) maps, which are drawn in false colours on one common scale from 0 to the
            largest value.
        titles: One title for each column. A title shared by neighbouring columns is written once.

    Returns:
        The figure, at most `WIDTH` inches wide. The size of the labels does not depend on the
        number of columns; about ten columns fit.

    Example:
        >>> len(image_grid({"noise": np.zeros((3, 32, 32), np.uint8)}).axes)
        3
    """
    columns = max(len(images) for images in rows.values())
    labels = [_wrapped(label, 12) for label in rows]
    left = _LETTER * max(len(line) for label in labels for line in label.split("\n")) + 0.12
    right = 0.1
    side = min(0.85, (WIDTH - left - right) / columns)
    groups = [(title, len(list(same))) for title, same in groupby(titles[:columns])]
    headings = [_wrapped(title, max(1, int(side * span / _LETTER))) for title, span in groups]
    top = 0.17 * max((heading.count("\n") + 1 for heading in headings), default=0) + 0.06
    width, height = round(left + side * columns + right, 6), top + side * len(rows)
    figure = plt.figure(figsize=(width, height))
    plt.close(figure)  # otherwise a notebook shows the figure twice
    axes = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        gridspec_kw={"left": left / width, "right": 1 - right / width, "bottom": 0,
                     "top": 1 - top / height, "wspace": 0.06, "hspace": 0.06},
    )  # fmt: skip
    maps = [np.asarray(images) for images in rows.values() if _is_map(images)]
    largest = max((float(m.max()) for m in maps), default=1.0)
    for line, label, images in zip(axes, labels, rows.values(), strict=True):
        for axis in line:
            axis.set_axis_off()
        if _is_map(images):
            for axis, image in zip(line, np.asarray(images), strict=False):
                axis.imshow(image, cmap="magma", vmin=0, vmax=largest)
        else:
            for axis, image in zip(
                line, as_images(images).cpu().permute(0, 2, 3, 1).numpy(), strict=False
            ):
                axis.imshow(
                    image.squeeze(-1) if image.shape[-1] == 1 else image,
                    cmap="gray",
                    vmin=0,
                    vmax=255,
                )
        at = line[0].get_position()
        figure.text(
            (left - 0.07) / width, (at.y0 + at.y1) / 2, label, ha="right", va="center", fontsize=9
        )
    first = 0
    for heading, (_, span) in zip(headings, groups, strict=True):
        middle = (left + side * (first + span / 2)) / width
        figure.text(
            middle, 1 - (top - 0.04) / height, heading, ha="center", va="bottom", fontsize=9
        )
        if span > 1:
            ends = [(left + side * (first + at)) / width for at in (0.1, span - 0.1)]
            figure.add_artist(
                Line2D(ends, [1 - (top - 0.02) / height] * 2, color=GREY, linewidth=0.8)
            )
        first += span
    return figure


_LETTER = 0.078  # mean width of a letter at 9 points, in inches


def _wrapped(text: str, letters: int) -> str:
    """Wrap a label between words; a word longer than a line is not broken."""
    return textwrap.fill(text, letters, break_long_words=False, break_on_hyphens=False)


def _is_map(images: Any) -> bool:
    return np.asarray(images).dtype.kind == "f"


def loss_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw each loss against the epoch, one panel a loss, each with its own scale.

    Args:
        history: ``detector.history_`` of a fitted detector: one entry an epoch.

    Returns:
        The figure.

    Example:
        >>> loss_curves([{"epoch": 1, "seconds": 2.0, "similarity": 0.3}]).axes[0].get_title()
        'similarity'
    """
    names = [name for name in history[0] if name not in ("epoch", "seconds")]
    figure, axes = plt.subplots(
        1,
        len(names),
        sharex=True,
        squeeze=False,
        figsize=(2.1 * len(names), 2.1),
        layout="constrained",
    )
    plt.close(figure)  # otherwise a notebook shows the figure twice
    epochs = [line["epoch"] for line in history]
    for axis, name in zip(axes[0], names, strict=True):
        axis.plot(epochs, [line[name] for line in history], color=CLASS_COLOURS["normal"])
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.set_ylim(bottom=0)
    return figure
