"""Control versions of the brain MRI: in each, one shortcut is removed from the images.

No function uses a label. Score the same detector on the original images and on these. A
detector that relies on tumours alone should have an AUC near 0.5 on the background alone, and
should lose nothing with equal encoding or equal intensities.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from ccb_lib.datasets.lung_ct_98 import otsu
from ccb_lib.io.image_files import open_image, read_images, square

# Pixels. Smaller than the smallest side of all files (150), so that every file is reduced.
CODED_SIZE = 128
CODED_QUALITY = 75  # JPEG quality


def background_only(images: Tensor) -> Tensor:
    """Black out the head in each image: background, labels and margins remain.

    The head is the largest connected component of all pixels above half of the lowest intensity
    that exceeds Otsu's threshold, after dilation by a 32nd of the image; it is then filled along
    rows and columns. If the background is that bright too, it is blacked out as well. The outline
    of the head stays visible if the background is not black.

    Args:
        images: (N, 1, H, W) uint8.

    Returns:
        (N, 1, H, W) uint8, 0 inside the head.

    Raises:
        ValueError: The images have another shape or dtype.

    Example:
        >>> image = torch.full((1, 1, 32, 32), 5, dtype=torch.uint8)
        >>> image[0, 0, 8:24, 8:24] = 200
        >>> background_only(image).unique().tolist(), int((background_only(image) == 0).sum())
        ([0, 5], 320)
    """
    _check(images)
    kept = images.clone()
    for image in kept:
        image[0][torch.from_numpy(head(image[0].numpy()))] = 0
    return kept


def head(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the head in one image, as defined in `background_only`: (H, W) uint8 to (H, W) bool."""
    # The dilation closes the dark skull, so that scalp and brain are one component.
    width = max(1, grey.shape[0] // 32)
    bright = grey[grey > otsu(grey)]
    if not len(bright):
        return np.zeros(grey.shape, dtype=bool)
    parts, _ = ndimage.label(ndimage.binary_dilation(grey > bright.min() / 2, iterations=width))
    inside = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return _between(inside) & _between(inside.T).T


def re_encoded(paths: Sequence[Path], *, image_size: int, quality: int = CODED_QUALITY) -> Tensor:
    """Read files as grey squares that all went through one size and one JPEG quality.

    Args:
        paths: Image files.
        image_size: Height and width of the result, in pixels.
        quality: JPEG quality, 1 to 95.

    Returns:
        (N, 1, image_size, image_size) uint8.

    Raises:
        ValueError: Files that cannot be read (all listed), or a quality out of range.
    """
    if not 1 <= quality <= 95:
        raise ValueError(f"quality={quality} given; JPEG qualities from 1 to 95 are needed.")
    even = read_images(paths, image_size=CODED_SIZE, channels=1, progress="re-encoding")

    def encode(pixels: Tensor) -> NDArray[np.uint8]:
        file = io.BytesIO()
        Image.fromarray(pixels.numpy()).save(file, format="JPEG", quality=quality)
        with open_image(file) as image:
            return square(image, image_size, 1)

    with ThreadPoolExecutor() as pool:
        return torch.from_numpy(np.stack(list(pool.map(encode, even[:, 0]))))


def matched(images: Tensor) -> Tensor:
    """Give all images the same intensities: map each histogram to the mean histogram of all images.

    Pixels of equal value keep an equal value: the mean of their target values. So all images have
    the same mean up to rounding. The mean histogram is that of the sorted pixels, averaged over all
    images of both classes.

    Args:
        images: (N, 1, H, W) uint8.

    Returns:
        (N, 1, H, W) uint8.

    Raises:
        ValueError: The images have another shape or dtype.

    Example:
        >>> images = torch.tensor([[[[0, 10], [20, 30]]], [[[130, 120], [110, 100]]]])
        >>> matched(images.to(torch.uint8)).tolist()
        [[[[50, 60], [70, 80]]], [[[80, 70], [60, 50]]]]
    """
    _check(images)
    flat = images.flatten(1).numpy()
    target = np.sort(flat, axis=1).mean(axis=0)
    sums = np.concatenate([[0.0], target.cumsum()])
    result = np.empty_like(flat)
    for row, pixels in enumerate(flat):
        counts = np.bincount(pixels, minlength=256)
        ends = counts.cumsum()
        values = (sums[ends] - sums[ends - counts]) / np.maximum(counts, 1)
        result[row] = values.round().astype(np.uint8)[pixels]
    return torch.from_numpy(result).view_as(images)


def _between(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask that is True from the first to the last True of each row."""
    return (
        np.logical_or.accumulate(mask, axis=1)
        & np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    )


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != torch.uint8:
        raise ValueError(
            f"{tuple(images.shape)} {images.dtype} given; grey images (N, 1, H, W) uint8 are "
            "needed."
        )
