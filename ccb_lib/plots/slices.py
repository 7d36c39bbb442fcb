"""Anomaly maps of whole CT slices, drawn over the slice."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from ccb_lib.plots.style import panels, styled

_MARGIN = 12  # pixels shown around the area that the maps cover


@styled
def slice_with_map(
    grey: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.floating]],
    *,
    circle: tuple[float, float, float] | None = None,
    title: str = "slice",
) -> Figure:
    """Draw a slice, and next to it the same slice overlaid with each of several maps.

    Each map has its own colour scale, from its minimum (dark) to its maximum (bright), because
    scores of two methods have no common unit. All panels are cropped to the area of the maps.

    Args:
        grey: (H, W) uint8, the slice.
        maps: For each further panel a title and an (H, W) float map as
            `ccb_lib.evaluation.slice_maps.map_of_slice` returns it. NaN where there is no value;
            higher is more abnormal.
        circle: Column, row and radius in pixels of a circle to draw on all panels, for example
            around the lesion.
        title: Title of the first panel.

    Returns:
        The figure, one row of panels.

    Raises:
        ValueError: No map, a map whose shape is not that of the slice, or a map of NaN alone.

    Example:
        >>> grey = np.full((64, 64), 51, dtype=np.uint8)
        >>> len(slice_with_map(grey, {"score": np.eye(64)}).axes)
        2
    """
    if not maps:
        raise ValueError("No maps given; at least one title with an (H, W) map is needed.")
    for name, values in maps.items():
        if values.shape != grey.shape:
            raise ValueError(
                f"Map {name!r} of shape {values.shape} given; the shape of the slice is "
                f"{grey.shape}, and both must be equal."
            )
        if not np.isfinite(values).any():
            raise ValueError(
                f"Map {name!r} has no value; a map with at least one finite number is needed."
            )
    seen = np.any([np.isfinite(values) for values in maps.values()], axis=0)
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    height = rows[-1] - rows[0] + 1 + 2 * _MARGIN
    width = columns[-1] - columns[0] + 1 + 2 * _MARGIN
    figure, axes = panels(
        1, 1 + len(maps), height=0.3 + 5 / (1 + len(maps)) * height / width, share_y=False
    )
    for axis, name in zip(axes, [title, *maps], strict=True):
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[], frame_on=False)
        axis.set_xlim(columns[0] - _MARGIN, columns[-1] + _MARGIN)
        axis.set_ylim(rows[-1] + _MARGIN, rows[0] - _MARGIN)
        axis.set_title(name, fontsize=9)
        if circle is not None:
            axis.add_patch(
                Circle(
                    circle[:2],
                    circle[2],
                    fill=False,
                    edgecolor="white",
                    linewidth=1,
                    linestyle="--",
                )
            )
    for axis, values in zip(axes[1:], maps.values(), strict=True):
        axis.imshow(np.ma.masked_invalid(values), cmap="inferno", alpha=0.8)
    return figure
