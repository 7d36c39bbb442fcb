"""Eq. 2: from an image, its reconstruction and their features to one anomaly score."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ScoreTerms(NamedTuple):
    """The two terms of Eq. 2 before α; higher is more abnormal.

    Attributes:
        image: (N,) float32, D1(x, x̂) per image.
        latent: (N,) float32, D2(z, ẑ) per image.
    """

    image: NDArray[np.float32]
    latent: NDArray[np.float32]


def distance(a: Tensor, b: Tensor, kind: str = "l2") -> Tensor:
    """D1 and D2 of Eq. 2: how far apart two batches are, image by image.

    Args:
        a, b: (N, …) float, the same shape.
        kind: ``"l2"``, the mean squared difference (Skip-GANomaly's code); ``"l1"``, the mean absolute one; or
            ``"l1-norm"``, the sum of absolute differences (AnoGAN, EGBAD).

    Returns:
        (N,) float32.
    """
    difference = (a.float() - b.float()).flatten(1)
    if kind == "l1-norm":
        return difference.abs().sum(1)
    return difference.square().mean(1) if kind == "l2" else difference.abs().mean(1)


def anomaly_score(terms: ScoreTerms, alpha: float = 0.9) -> NDArray[np.float32]:
    """Eq. 2: A = α · D1(x, x̂) + (1 − α) · D2(z, ẑ), higher is more abnormal.

    Args:
        terms: Both terms, (N,) each.
        alpha: Weight of the image term, 0 to 1.

    Returns:
        (N,) float32.

    Raises:
        ValueError: α lies outside 0…1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} given; Eq. 2 weighs the image term by a number from 0 to 1.")
    return (alpha * terms.image + (1 - alpha) * terms.latent).astype(np.float32)


def error_map(x: Tensor, x_hat: Tensor) -> Tensor:
    """Squared difference of each pixel, averaged over channels: (N, C, H, W) in [-1, 1] to (N, H, W) float32."""
    with torch.no_grad():
        return (x.float() - x_hat.float()).square().mean(1)


def all_equal(scores: NDArray[np.float32]) -> bool:
    """Whether several scores differ by no more than float32 rounds."""
    return len(scores) > 1 and bool(np.ptp(scores) <= 1e-6 * np.abs(scores).max())
