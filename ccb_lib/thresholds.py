"""Eq. 3: where to cut a score. An image is abnormal if and only if its score > φ."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def normal_quantile(normal_scores: ArrayLike, false_alarms: float = 0.05) -> float:
    """Set φ so that at most a share ``false_alarms`` of held-out **normal** scores lies above it.

    φ lies half-way between two distinct scores, so that rounding never decides a verdict.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        false_alarms: The share of normals that may be called abnormal, between 0 and 1.

    Returns:
        The threshold φ.

    Raises:
        ValueError: No scores, scores that are not finite, or a share outside 0…1.
    """
    scores = np.sort(_checked(normal_scores))
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms={false_alarms} given; a share between 0 and 1, such as 0.05, is needed.")
    allowed = math.floor(false_alarms * len(scores) + 1e-9)
    below = scores[len(scores) - 1 - allowed]  # the largest score that must not be an alarm
    above = scores[scores > below]
    return float(below + (above[0] - below) / 2) if len(above) else float(np.nextafter(below, np.inf))


def conformal_p_values(scores: ArrayLike, normal_scores: ArrayLike) -> NDArray[np.float64]:
    """Split conformal p-values: how unusual a score is among held-out normal ones.

    p = (1 + number of normal scores ≥ score) / (1 + number of normal scores). If an image is exchangeable with the
    calibration images, P(p ≤ ε) ≤ ε for every ε: calling it abnormal at p ≤ 0.05 raises a false alarm at most
    5 % of the time, averaged over calibration sets.

    Args:
        scores: (N,) scores to judge.
        normal_scores: (M,) scores of normal images that were not trained on.

    Returns:
        (N,) float64 in (0, 1]; lower is more abnormal.

    Raises:
        ValueError: No normal scores, or scores that are not finite.
    """
    calibration = np.sort(_checked(normal_scores))
    at_least = len(calibration) - np.searchsorted(calibration, _checked(scores), side="left")
    return (1 + at_least) / (1 + len(calibration))


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"Scores of shape {array.shape} given, {int(np.size(array) - np.isfinite(array).sum())} of them not "
            "finite; one axis of at least one finite number is needed."
        )
    return array
