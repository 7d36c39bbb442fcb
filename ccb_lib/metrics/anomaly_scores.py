"""Eq. 2: the anomaly score of an image from its reconstruction and both their features."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ScoreTerms(NamedTuple):
    """The two terms of Eq. 2 before α; higher is more abnormal.

    Attributes:
        image: (N,) float32, D1(x, x̂) per image; an array or a tensor.
        latent: (N,) float32, D2(z, ẑ) per image; an array or a tensor like ``image``.

    Example:
        >>> terms = ScoreTerms(np.float32([0.1, 0.4]), np.float32([0.2, 0.1]))
        >>> anomaly_score(terms, 1.0)
        array([0.1, 0.4], dtype=float32)
    """

    image: NDArray[np.float32] | Tensor
    latent: NDArray[np.float32] | Tensor


def distance(a: Tensor, b: Tensor, kind: str = "l2") -> Tensor:
    """D1 and D2 of Eq. 2: the distance of two batches for each image.

    Args:
        a, b: (N, …) float, the same shape.
        kind: ``"l2"``, the mean squared difference (Skip-GANomaly's code); ``"l1"``, the mean
            absolute one; or ``"l1-norm"``, the sum of absolute differences (AnoGAN, EGBAD).

    Returns:
        (N,) float32, on the device of ``a`` and ``b``.

    Raises:
        ValueError: Shapes that differ, or an unknown kind.

    Example:
        >>> distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([12.5000])
    """
    if a.shape != b.shape:
        raise ValueError(
            f"Shapes {tuple(a.shape)} and {tuple(b.shape)} given; both must be the same."
        )
    if kind not in ("l2", "l1", "l1-norm"):
        raise ValueError(f"kind={kind!r} given; choose l2, l1 or l1-norm.")
    difference = (a.float() - b.float()).flatten(1)
    if kind == "l1-norm":
        return difference.abs().sum(1)
    return difference.square().mean(1) if kind == "l2" else difference.abs().mean(1)


def anomaly_score(terms: ScoreTerms, alpha: float = 0.9) -> NDArray[np.float32] | Tensor:
    """Eq. 2: A = α · D1(x, x̂) + (1 − α) · D2(z, ẑ), higher is more abnormal.

    Args:
        terms: Both terms, (N,) each.
        alpha: Weight of the image term, 0 to 1.

    Returns:
        (N,) float32: a tensor on their device if the terms are tensors, else an array.

    Raises:
        ValueError: α lies outside 0…1.

    Example:
        >>> anomaly_score(ScoreTerms(np.float32([1]), np.float32([10]))).tolist()
        [1.899999976158142]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} given; a number from 0 to 1 is needed.")
    scores = alpha * terms.image + (1 - alpha) * terms.latent
    return scores.float() if isinstance(scores, Tensor) else scores.astype(np.float32)


def error_map(x: Tensor, x_hat: Tensor) -> Tensor:
    """Squared difference of each pixel, averaged over channels.

    Args:
        x, x_hat: (N, C, H, W) float in [-1, 1].

    Returns:
        (N, H, W) float32.

    Raises:
        ValueError: Shapes that differ.

    Example:
        >>> error_map(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]])).tolist()
        [[[1.0, 4.0]]]
    """
    if x.shape != x_hat.shape:
        raise ValueError(
            f"Shapes {tuple(x.shape)} and {tuple(x_hat.shape)} given; both must be the same."
        )
    with torch.no_grad():
        return (x.float() - x_hat.float()).square().mean(1)


def all_equal(scores: NDArray[np.float32]) -> bool:
    """Whether at least two scores are given and all are equal up to float32 rounding.

    Example:
        >>> all_equal(np.float32([1, 1]))
        True
    """
    return len(scores) > 1 and bool(np.ptp(scores) <= 1e-6 * np.abs(scores).max())
