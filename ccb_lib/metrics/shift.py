"""Whether scored images are like those that a threshold was set on; if not, verdicts and p-values mean nothing."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from ccb_lib.metrics.checks import checked_scores, checked_threshold

LEVEL = 0.001  # of warnings among sets that are like the calibration images
MOST_ABNORMAL = 0.5  # share of a set that may be abnormal without a warning


class ShiftWarning(UserWarning):
    """The scores of a set of images are not those of images like the calibration images."""


@dataclass(frozen=True)
class Shift:
    """The scores of a set of images beside those of the calibration images.

    Attributes:
        images: N, the number of images scored.
        flagged: How many of them lie above the threshold.
        interval: Exact binomial 95 % interval of the share that is flagged (Clopper and Pearson 1934).
        expected: The share of the calibration scores above the threshold.
        distance: Kolmogorov–Smirnov distance between the two sets of scores, 0 to 1.
        unlike: Whether the set differs by more than chance and abnormal images explain; see
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
        """The share of the images that lies above the threshold."""
        return self.flagged / self.images

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.flagged} of {self.images} images are called abnormal ({self.share:.0%}, 95 % interval {low:.0%} to "
            f"{high:.0%}), of the calibration images {self.expected:.0%}; the Kolmogorov–Smirnov distance of their "
            f"scores is {self.distance:.2f}"
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

    Let at most a share π (``most_abnormal``) of the set be abnormal, with any scores whatever, and the others be like
    the calibration images. Then, in expectation,

    - the share above the threshold is at most π + (1 − π)·f, where f is the share of normal images above it, and
    - the two distributions of scores are at most π apart, since F = (1 − π)·F₀ + π·G gives |F − F₀| = π·|G − F₀|.

    A set is ``unlike`` where one of the two fails by more than chance. For the first, exact binomial intervals of both
    shares are taken; for the second, the bound of Dvoretzky, Kiefer and Wolfowitz (Massart 1990) on how far each
    sample's distribution lies from its own. Each of the four bounds fails with probability ``level`` / 4, so a set as
    described is called unlike with probability at most ``level``, **one in a thousand** by default, whatever its size.
    The price is power: fewer than 12 images are never called unlike, and a set whose alarms merely double is not.

    Args:
        scores: (N,) scores of the images, higher is more abnormal.
        calibration_scores: (M,) scores of held-out normal images.
        threshold: φ; images above it are flagged.
        most_abnormal: π, from 0 (all images ought to be normal) to under 1.
        level: The highest probability of calling a set unlike that is not, between 0 and 1.

    Returns:
        The comparison.

    Raises:
        ValueError: Scores that are not finite, a threshold that is NaN, or a share or level out of range.

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
        raise ValueError(f"most_abnormal={most_abnormal} given; a share from 0 to under 1, such as 0.5, is needed.")
    if not 0 < level < 1:
        raise ValueError(f"level={level} given; a probability between 0 and 1, such as 0.001, is needed.")
    flagged, of_normal = (int(np.count_nonzero(part > threshold)) for part in (scores, normal))
    apart = float(ks_2samp(scores, normal, method="asymp").statistic)
    least, most = _lowest(flagged, len(scores), level / 4), _highest(of_normal, len(normal), level / 4)
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
    """Clopper and Pearson's lower bound of a share, too high with probability ``failing`` at most."""
    return float(betaincinv(count, of - count + 1, failing)) if count else 0.0


def _highest(count: int, of: int, failing: float) -> float:
    """Clopper and Pearson's upper bound of a share, too low with probability ``failing`` at most."""
    return float(betaincinv(count + 1, of - count, 1 - failing)) if count < of else 1.0


def warn_of_shift(shift: Shift, stacklevel: int = 1) -> None:
    """Warn where a set is unlike the calibration images.

    Args:
        shift: From `compare_with_calibration`.
        stacklevel: Whose line the warning names, as in `warnings.warn`; 1 is the caller's.

    Warns:
        ShiftWarning: The set is ``unlike``.
    """
    if shift.unlike:
        warnings.warn(
            f"{shift}. Unless most of these images are abnormal, they are not like those that the detector was "
            "calibrated on (another camera, another source), and its verdicts and p-values mean nothing for them. "
            "Recalibrate: calibrate(normals) with held-out normal images of the same source.",
            ShiftWarning,
            stacklevel=stacklevel + 1,
        )
