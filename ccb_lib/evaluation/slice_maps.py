"""Maps of whole CT slices from a detector of patches, averaged over overlapping patches."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.patches import cut, find_patches

Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def map_of_slice(
    score: Score,
    grey: NDArray[np.uint8],
    lung: NDArray[np.bool_],
    *,
    size: int = 32,
    stride: int = 8,
    share: float = 0.75,
) -> NDArray[np.float32]:
    """Score overlapping patches of a slice; average at each pixel over the patches that cover it.

    Args:
        score: A function from patches (N, 1, size, size) uint8 to (N,), one value per patch, or (N,
            size, size), one value per pixel. ``detector.decision_function`` shows which patches are
            abnormal, ``detector.anomaly_map`` which pixels have a large reconstruction error,
            `brightness` the mean intensity.
        grey: (H, W) uint8, the slice in the window that the detector was trained in.
        lung: (H, W) bool, True where the lung is.
        size: Height and width of the patches, in pixels.
        stride: Distance from one patch to the next, in pixels.
        share: Minimum share of a patch's pixels in the lung.

    Returns:
        (H, W) float32, NaN outside the lung and where there is no patch.

    Raises:
        ValueError: ``grey`` and ``lung`` differ in shape, no patch lies in the lung, or the score
            has a wrong shape.

    Example:
        >>> grey = np.full((64, 64), 51, dtype=np.uint8)
        >>> lung = np.ones((64, 64), dtype=bool)
        >>> float(map_of_slice(brightness, grey, lung).mean())
        0.2...
    """
    if grey.ndim != 2 or grey.shape != lung.shape:
        raise ValueError(
            f"A slice of shape {grey.shape} and a lung of {lung.shape} given; both need one (H, W)."
        )
    patches = find_patches({"lung": lung}, size=size, stride=stride, share=share)
    if not patches:
        raise ValueError(
            f"No patch of {size}×{size} pixels has {share:.0%} of its pixels in the lung. Choose "
            "another slice or a smaller share."
        )
    values = np.asarray(score(cut(grey, patches, size)[:, None]))
    if values.shape not in ((len(patches),), (len(patches), size, size)):
        raise ValueError(
            f"The score of {len(patches)} patches has shape {values.shape}; one value a patch, "
            f"({len(patches)},), or one a pixel, ({len(patches)}, {size}, {size}), is needed."
        )
    values = values.reshape(len(patches), *(values.shape[1:] or (1, 1)))
    total, count = np.zeros(grey.shape, dtype=np.float64), np.zeros(grey.shape, dtype=np.int64)
    for patch, value in zip(patches, values, strict=True):
        place = np.s_[patch.row : patch.row + size, patch.column : patch.column + size]
        total[place] += value
        count[place] += 1
    seen = lung & (count > 0)
    return np.where(seen, total / np.maximum(count, 1), np.nan).astype(np.float32)


def brightness(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean intensity of each patch, 0…1, (N,): a baseline map to show beside a detector's."""
    return patches.mean(axis=(1, 2, 3)) / 255
