"""Figures of data: scored images, samples, CT slices with regions and patches, CT windows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray
from torch import Tensor

from ccb_lib.datasets.patches import Patch
from ccb_lib.io.image_files import read_images
from ccb_lib.io.windows import Window, to_window
from ccb_lib.plots.style import GREY, WIDTH, colours, panels, styled

_COLUMNS = 5  # of a sheet of samples
# Colour of each label, the same in every figure; other labels are grey.
_LABELS = ("healthy", "ground_glass", "consolidation", "fibrosis", "emphysema", "micronodules",
           "unmarked")  # fmt: skip
COLOURS = dict(zip(_LABELS, colours(_LABELS).values(), strict=True))


@styled
def verdict_grid(table: pd.DataFrame, folder: Path, maps: Path) -> Figure:
    """Draw images scored by ``ccb score``, with the verdict above and the heatmap below each.

    Args:
        table: Rows of the table that ``ccb score`` wrote, with columns ``path``, ``verdict`` and
            ``p_value``. Their index is the line number in that table, from 0.
        folder: The folder to which the paths are relative.
        maps: The folder of the heatmaps.

    Returns:
        The figure, one column an image.
    """
    figure, axes = panels(2, len(table), height=0.3 + 4.4 / len(table), share_y=False)
    for axis in axes:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for (line, row), above, below in zip(
        table.iterrows(), axes[: len(table)], axes[len(table) :], strict=True
    ):
        image = read_images([folder / row.path], image_size=128, channels=3)[0]
        above.imshow(image.permute(1, 2, 0).numpy())
        above.set_title(f"{row.verdict}\np = {row.p_value:.3f}", fontsize=8, loc="center")
        below.imshow(plt.imread(next(maps.glob(f"{line + 1:06d}_*.png"))))
    return figure


@styled
def slice_windows(hounsfield: NDArray[np.floating], windows: Sequence[Window]) -> Figure:
    """Draw one CT slice under several windows.

    Args:
        hounsfield: (H, W) slice in Hounsfield units.
        windows: Lower and upper end of each window, in Hounsfield units.

    Returns:
        The figure, one panel a window.

    Example:
        >>> figure = slice_windows(np.zeros((8, 8)), [(-1000.0, 200.0)])
        >>> figure.axes[0].get_title(loc="left")
        '−1000…200 HU'
    """
    figure, axes = panels(1, len(windows), height=0.3 + 5 / len(windows), share_y=False)
    for axis, window in zip(axes, windows, strict=True):
        _show(axis, to_window(hounsfield, window))
        axis.set_title(f"{window[0]:g}…{window[1]:g} HU".replace("-", "−"), fontsize=9)
    return figure


@styled
def slice_regions(
    image: NDArray[np.uint8],
    *,
    contours: Sequence[tuple[str, NDArray[np.floating]]] = (),
    regions: Mapping[str, NDArray[np.bool_]] | None = None,
    patches: Sequence[Patch] = (),
    size: int = 32,
) -> Figure:
    """Draw a slice twice: with its annotations, and with the patches cut from it.

    Args:
        image: (H, W) uint8.
        contours: Label and (P, 2) points in pixels, x and y, of each annotated contour.
        regions: For each label the annotated region, (H, W) bool. Regions are tinted.
        patches: The patches.
        size: Height and width of a patch in pixels.

    Returns:
        The figure, two panels: annotations and patches.

    Example:
        >>> patches = [Patch("healthy", 0, 0)]
        >>> figure = slice_regions(np.zeros((64, 64), np.uint8), patches=patches)
        >>> figure.axes[1].get_title(loc="left")
        '1 patches of 32×32'
    """
    figure, (left, right) = panels(1, 2, height=3.1, share_y=False)
    for axis in (left, right):
        _show(axis, image)
    seen = dict.fromkeys(
        [*(label for label, _ in contours), *(regions or {}), *(patch.label for patch in patches)]
    )
    for label, points in contours:
        left.add_patch(Polygon(points, fill=False, edgecolor=_colour(label), linewidth=1.6))
    for label, mask in (regions or {}).items():
        tint = np.zeros((*mask.shape, 4))
        tint[mask] = to_rgba(_colour(label), 0.45)
        left.imshow(tint, extent=(0, mask.shape[1], mask.shape[0], 0))
    for patch in patches:
        corner = (patch.column, patch.row)
        right.add_patch(
            Rectangle(corner, size, size, fill=False, edgecolor=_colour(patch.label), linewidth=0.8)
        )
    left.set_title("drawn", fontsize=9)
    right.set_title(f"{len(patches)} patches of {size}×{size}", fontsize=9)
    handles = [Rectangle((0, 0), 1, 1, color=_colour(label)) for label in seen]
    names = [label.replace("_", " ") for label in seen]
    figure.legend(handles, names, loc="outside lower center", ncols=len(seen))
    return figure


@styled
def sample_sheet(sets: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Draw images of several sets, five in a row, each with its class above it.

    Args:
        sets: For each set a title and its images by class, each (C, H, W) uint8 with C 1 or 3.

    Returns:
        The figure.

    Example:
        >>> figure = sample_sheet({"noise": {"a class": Tensor(1, 8, 8).byte()}})
        >>> figure.axes[0].get_title(loc="center")
        'a class'
    """
    rows = [-(-len(images) // _COLUMNS) for images in sets.values()]
    figure = plt.figure(figsize=(WIDTH, 0.95 * sum(rows) + 0.3 * len(rows)), layout="constrained")
    plt.close(figure)  # otherwise a notebook shows the figure twice
    parts = figure.subfigures(len(rows), squeeze=False, height_ratios=[n + 0.3 for n in rows])
    for part, count, (title, images) in zip(parts.flat, rows, sets.items(), strict=True):
        part.suptitle(title, x=0.02, ha="left", fontsize=10)
        axes = part.subplots(count, _COLUMNS, squeeze=False)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[], frame_on=False)
        for axis, (label, image) in zip(axes.flat, images.items(), strict=False):
            axis.imshow(image.permute(1, 2, 0).cpu().numpy(), cmap="gray", vmin=0, vmax=255)
            axis.set_title(label.replace("_", " "), loc="center", fontsize=8.5, pad=2)
    return figure


@styled
def pixel_centres(
    points: NDArray[np.floating], mask: NDArray[np.bool_], window: tuple[int, int, int, int]
) -> Figure:
    """Draw part of a contour, the pixels of its mask, and the centres of all pixels.

    Args:
        points: (P, 2) x and y of the contour in pixels.
        mask: (H, W) bool, True for pixels inside the contour.
        window: First column, first row, last column and last row to show, in pixels.

    Returns:
        The figure. Centres inside the contour are filled.

    Example:
        >>> points, mask = np.array([[1, 1], [3, 1], [3, 3]]), np.eye(4, dtype=bool)
        >>> pixel_centres(points, mask, (0, 0, 4, 4)).axes[0].get_xlabel()
        'x in pixels'
    """
    left, top, right, bottom = window
    figure, (axis,) = panels(1, height=4 * (bottom - top) / (right - left))
    axis.imshow(mask, cmap="Blues", vmin=0, vmax=2, extent=(0, mask.shape[1], mask.shape[0], 0))
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    inside = mask[top:bottom, left:right]
    axis.scatter(x[inside], y[inside], s=9, color="#222255")
    axis.scatter(
        x[~inside], y[~inside], s=9, facecolors="none", edgecolors="#999999", linewidths=0.7
    )
    axis.add_patch(Polygon(points, fill=False, edgecolor=COLOURS["ground_glass"], linewidth=2))
    axis.set(
        xlim=(left, right),
        ylim=(bottom, top),
        xticks=range(left, right + 1, 2),
        yticks=range(top, bottom + 1, 2),
    )
    axis.set_xlabel("x in pixels")
    axis.set_ylabel("y in pixels")
    return figure


def _show(axis: Axes, image: NDArray[np.uint8]) -> None:
    # Contours have their origin at the outer edge of the first pixel. The default extent has it at
    # the centre of that pixel, half a pixel off.
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, image.shape[1], image.shape[0], 0))
    axis.set(xticks=[], yticks=[], frame_on=False)


def _colour(label: str) -> Any:
    return COLOURS.get(label, GREY)
