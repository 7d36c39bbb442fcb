"""The patch rule of the ILD chapters: squares on a grid, kept where one label covers most of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Patch(NamedTuple):
    """One square: its label and its first row and column in the slice."""

    label: str
    row: int
    column: int


def find_patches(
    regions: Mapping[str, NDArray[np.bool_]],
    *,
    size: int = 32,
    stride: int = 16,
    share: float = 0.75,
    lung: NDArray[np.bool_] | None = None,
) -> list[Patch]:
    """Cut squares from a slice: those of which exactly one label covers at least ``share``.

    Squares lie on a grid that begins at the slice's first pixel; none reaches beyond the slice.

    Args:
        regions: For each label (H, W) bool, True where it was drawn; labels may overlap.
        size: Height and width of a square, in pixels.
        stride: From one square to the next, in pixels.
        share: The least share of a square that its label covers, above 0 and at most 1.
        lung: (H, W) bool; where given, squares must lie in it with all their pixels.

    Returns:
        The squares, by row, then column.

    Raises:
        ValueError: A share, size or stride outside its range, or masks of different sizes.
    """
    if not 0 < share <= 1 or size < 1 or stride < 1:
        raise ValueError(
            f"share={share}, size={size}, stride={stride} given; a share above 0 and at most 1 and "
            "whole numbers from 1 are needed."
        )
    shapes = {mask.shape for mask in regions.values()} | (
        {lung.shape} if lung is not None else set()
    )
    if len(shapes) > 1:
        raise ValueError(f"The masks of one slice differ in size: {sorted(shapes)}.")
    if not regions:
        return []
    counts = np.stack(
        [_count(mask, size, stride) for mask in regions.values()]
    )  # (labels, rows, columns)
    covers = counts >= share * size * size
    keep = covers.sum(axis=0) == 1
    if lung is not None:
        keep &= _count(lung, size, stride) == size * size
    which = covers.argmax(axis=0)
    labels = list(regions)
    return [
        Patch(labels[which[row, column]], int(row) * stride, int(column) * stride)
        for row, column in zip(*np.nonzero(keep), strict=True)
    ]


def cut(pixels: NDArray, patches: list[Patch], size: int = 32) -> NDArray:
    """Cut the patches out of a slice: (H, W) to (number of patches, size, size), the dtype kept."""
    if not patches:
        return np.empty((0, size, size), dtype=pixels.dtype)
    return np.stack([pixels[p.row : p.row + size, p.column : p.column + size] for p in patches])


def _count(mask: NDArray[np.bool_], size: int, stride: int) -> NDArray[np.int64]:
    """Count the True pixels of each square, from sums over all rectangles that begin at the first pixel."""
    sums = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    whole = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return whole[::stride, ::stride]
