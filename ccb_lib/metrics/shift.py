"""A test of whether images resemble those that the detector was calibrated on.

If they do not, thresholds and p-values are not valid for them.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from ccb_lib.metrics.checks import checked_scores, checked_threshold

LEVEL = 0.001  # highest share of false warnings
MOST_ABNORMAL = 0.5  # highest share of abnormal images without a warning


class ShiftWarning(UserWarning):
    """The scores of a set of images are unlike those of the calibration images."""


@dataclass(frozen=True)
class Shift:
    """A comparison of the scores of a set of images with those of the calibration images.

    Attributes:
        images: N, the number of images scored.
        flagged: Number of images above the threshold.
        interval: Exact binomial 95 % confidence interval of the share above the threshold (Clopper
            and Pearson 1934).
        expected: The share of the calibration scores above the threshold.
        distance: Kolmogorov–Smirnov distance between the two sets of scores, 0 to 1.
        unlike: Whether the set differs by more than chance and abnormal images can explain; see
            `compare_with_calibration`.
    """

    images: int
    flagged: int
    interval: tuple[float, float]
    expected: float
    distance: float
    unlike: bool

    @property
    def share(self) -> float:
        """The share of images above the threshold."""
        return self.flagged / self.images

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.flagged} of {self.images} images are called abnormal ({self.share:.0%}, 95 % "
            f"confidence interval {low:.0%} to {high:.0%}), of the calibration images "
            f"{self.expected:.0%}; the Kolmogorov–Smirnov distance of their scores is "
            f"{self.distance:.2f}"
        )


def compare_with_calibration(
    scores: ArrayLike,
    calibration_scores: ArrayLike,
    threshold: float,
    *,
    most_abnormal: float = MOST_ABNORMAL,
    level: float = LEVEL,
) -> Shift:
    """Compare the scores of a set of images with those that the threshold was set on.

    Suppose that at most a share π (``most_abnormal``) of the set is abnormal, with any scores, and
    that the others are like the calibration images. Then, in expectation,

    - the share above the threshold is at most π + (1 − π)·f, where f is the share of normal images
      above it, and
    - the two distributions of scores are at most π apart, because F = (1 − π)·F₀ + π·G gives
      abs(F − F₀) = π·abs(G − F₀).

    A set is ``unlike`` if one of the two bounds is exceeded by more than chance. For the first,
    exact binomial intervals of both shares are taken; for the second, the bound of Dvoretzky,
    Kiefer and Wolfowitz (Massart 1990) on how far each sample's distribution lies from its own.
    Each of the four bounds fails with probability ``level`` / 4, so a set as described is called
    unlike with probability at most ``level``, **one in a thousand** by default, whatever its size.
    The test has low power: fewer than 12 images are never called unlike, nor is a set with twice
    the expected alarms.

    Args:
        scores: (N,) scores of the images, higher is more abnormal.
        calibration_scores: (M,) scores of held-out normal images.
        threshold: φ; images above it are called abnormal.
        most_abnormal: π, from 0 (all images should be normal) to under 1.
        level: Highest probability of a false ``unlike``, between 0 and 1.

    Returns:
        The comparison.

    Raises:
        ValueError: Scores that are not finite, a threshold that is NaN, or a share or level out of
            range.

    Example:
        >>> import numpy as np
        >>> normal = np.linspace(0, 1, 200)
        >>> compare_with_calibration(normal[::2], normal, 0.95).unlike
        False
        >>> compare_with_calibration(normal[::2] + 1, normal, 0.95).unlike
        True
    """
    from scipy.stats import ks_2samp  # costs half a second to import

    scores = checked_scores(scores).numpy(force=True)
    normal = checked_scores(calibration_scores, "calibration_scores").numpy(force=True)
    threshold = checked_threshold(threshold)
    if not 0 <= most_abnormal < 1:
        raise ValueError(
            f"most_abnormal={most_abnormal} given; a share from 0 to under 1, such as 0.5, is "
            "needed."
        )
    if not 0 < level < 1:
        raise ValueError(
            f"level={level} given; a probability between 0 and 1, such as 0.001, is needed."
        )
    flagged, of_normal = (int(np.count_nonzero(part > threshold)) for part in (scores, normal))
    apart = float(ks_2samp(scores, normal, method="asymp").statistic)
    least, most = (
        _lowest(flagged, len(scores), level / 4),
        _highest(of_normal, len(normal), level / 4),
    )
    by_chance = sum(math.sqrt(math.log(8 / level) / (2 * len(part))) for part in (scores, normal))
    too_many = least > most_abnormal + (1 - most_abnormal) * most
    return Shift(
        images=len(scores),
        flagged=flagged,
        interval=(_lowest(flagged, len(scores), 0.025), _highest(flagged, len(scores), 0.025)),
        expected=of_normal / len(normal),
        distance=apart,
        unlike=bool(too_many or apart > most_abnormal + by_chance),
    )


def _lowest(count: int, of: int, failing: float) -> float:
    """Lower Clopper–Pearson bound of a share; its error probability is at most ``failing``."""
    return float(betaincinv(count, of - count + 1, failing)) if count else 0.0


def _highest(count: int, of: int, failing: float) -> float:
    """Upper Clopper–Pearson bound of a share; its error probability is at most ``failing``."""
    return float(betaincinv(count + 1, of - count, 1 - failing)) if count < of else 1.0


def warn_of_shift(shift: Shift, stacklevel: int = 1) -> None:
    """Warn if a set is unlike the calibration images.

    Args:
        shift: From `compare_with_calibration`.
        stacklevel: The frame that the warning names, as in `warnings.warn`; 1 is the caller.

    Warns:
        ShiftWarning: The set is ``unlike``.
    """
    if shift.unlike:
        warnings.warn(
            f"{shift}. Unless most of these images are abnormal, they are not like those that the "
            "detector was calibrated on (another camera, another source), and its predictions "
            "and p-values are not valid for them. Recalibrate: calibrate(normals) with held-out "
            "normal images of the same source.",
            ShiftWarning,
            stacklevel=stacklevel + 1,
        )
