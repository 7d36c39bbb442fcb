"""Square patches on a grid, each with the one label that covers most of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ccb_lib.datasets.base import Images


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
    """Find the squares of a slice that exactly one label covers by at least ``share``.

    The grid begins at the slice's first pixel. No square exceeds the slice.

    Args:
        regions: For each label (H, W) bool, True inside its region; labels may overlap.
        size: Height and width of a square, in pixels.
        stride: Distance from one square to the next, in pixels.
        share: The minimum share of a square that its label covers, above 0 and at most 1.
        lung: (H, W) bool; if given, all pixels of a square must be in it.

    Returns:
        The squares, sorted by row, then column.

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
    # (labels, rows, columns)
    counts = np.stack([_count(mask, size, stride) for mask in regions.values()])
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
    """Cut patches from a slice: (H, W) to (number of patches, size, size) of the same dtype."""
    if not patches:
        return np.empty((0, size, size), dtype=pixels.dtype)
    return np.stack([pixels[p.row : p.row + size, p.column : p.column + size] for p in patches])


def assemble(
    slices: Sequence[tuple[str, str, list[Patch], NDArray[np.uint8]]], skipped: Sequence[str] = ()
) -> Images:
    """Put the patches of all slices together.

    Args:
        slices: For each slice its name, its group, its patches and their pixels, as `cut` returns
            them.
        skipped: What could not be used, as in `Images`.

    Returns:
        (N, 1, size, size) uint8 with ids ``slice:row,column``, and labels as classes.
    """
    found = [(name, group, patch) for name, group, patches, _ in slices for patch in patches]
    return Images(
        pixels=torch.from_numpy(np.concatenate([pixels for *_, pixels in slices])[:, None]),
        ids=np.array([f"{name}:{p.row},{p.column}" for name, _, p in found], dtype=np.str_),
        classes=np.array([patch.label for *_, patch in found], dtype=np.str_),
        groups=np.array([group for _, group, _ in found], dtype=np.str_),
        skipped=tuple(skipped),
    )


def _count(mask: NDArray[np.bool_], size: int, stride: int) -> NDArray[np.int64]:
    """Count the True pixels of each square with a summed-area table."""
    sums = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    whole = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return whole[::stride, ::stride]
