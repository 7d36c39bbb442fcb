"""Eq. 3: the threshold φ of a score, set on held-out normal images.

An image is abnormal if and only if its score > φ.

Rules that use more than held-out normals are in `ccb_lib.metrics.oracle_thresholds`.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccb_lib.metrics.checks import Scores, checked_scores
from ccb_lib.metrics.counts import between, next_to, rank_in, rising


def normal_quantile(normal_scores: Scores, false_alarms: float = 0.05) -> float:
    """Set φ so that at most a share ``false_alarms`` of held-out **normal** scores lies above it.

    The share holds exactly for the given scores and approximately for new images;
    `conformal_threshold` guarantees it for new images. φ lies half-way between two distinct scores,
    so that rounding cannot change a prediction.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        false_alarms: Share of normals that may be called abnormal, between 0 and 1.

    Returns:
        The threshold φ.

    Raises:
        ValueError: No scores, scores that are not finite, or a share outside 0…1.

    Example:
        >>> normal_quantile(range(1, 101))  # 96 … 100 lie above: five of a hundred
        95.5
    """
    scores = rising(checked_scores(normal_scores, "normal_scores"))
    allowed = _most_within(false_alarms, len(scores))
    below = scores[len(scores) - 1 - allowed]  # the highest score that must not be an alarm
    above = scores[scores > below]
    return float(
        between(below, above[0])
        if len(above)
        else next_to(below, torch.full_like(below, torch.inf))
    )


def conformal_p_values(scores: Scores, normal_scores: Scores) -> NDArray[np.float64] | Tensor:
    """Split conformal p-values: the rank of a score among held-out normal scores.

    p = (1 + number of normal scores ≥ score) / (1 + number of normal scores). If an image is
    exchangeable with the calibration images, P(p ≤ ε) ≤ ε for every ε: calling images abnormal at p
    ≤ 0.05 gives a false-alarm rate of at most 5 %, averaged over calibration sets (Vovk et al.
    2005; Bates et al. 2023, arXiv:2104.08279).

    Args:
        scores: (N,) scores of the images to test.
        normal_scores: (M,) scores of normal images that were not trained on.

    Returns:
        (N,) float64 in (0, 1], lower is more abnormal: a tensor on the device of the scores if they
        are a tensor, else an array.

    Raises:
        ValueError: No normal scores, or scores that are not finite.

    Example:
        >>> conformal_p_values([0, 2.5, 9], [1, 2, 3]).tolist()
        [1.0, 0.5, 0.25]
    """
    judged = checked_scores(scores)
    calibration = rising(checked_scores(normal_scores, "normal_scores").to(judged.device))
    at_least = len(calibration) - rank_in(calibration, judged)
    p_values = (1 + at_least).double() / (1 + len(calibration))
    return p_values if isinstance(scores, Tensor) else p_values.numpy()


def conformal_threshold(normal_scores: Scores, false_alarms: float = 0.05) -> float:
    """Set φ so that score > φ if and only if the conformal p-value ≤ ``false_alarms``.

    The guarantee: an image exchangeable with the calibration images is called abnormal with
    probability at most ``false_alarms``, averaged over calibration sets, for every detector and
    every M. For one calibration set the rate varies around that value with a Beta distribution
    (Vovk 2012, arXiv:1209.2673).

    φ equals a calibration score: only then does the equivalence hold for every score.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        false_alarms: The rate ε, between 0 and 1.

    Returns:
        The threshold φ; ``inf``, with a warning, if M < 1/ε − 1: the smallest p-value is then 1/(M
        + 1) > ε, so no image can be called abnormal at that rate.

    Raises:
        ValueError: No scores, scores that are not finite, or a rate outside 0…1.

    Example:
        >>> conformal_threshold(range(99))
        94.0
    """
    scores = rising(checked_scores(normal_scores, "normal_scores"))
    # The largest numerator of p that is still an alarm.
    within = _most_within(false_alarms, len(scores) + 1)
    if within == 0:
        warnings.warn(
            f"{len(scores)} calibration scores cannot call any image abnormal at a false-alarm "
            f"rate of {false_alarms}: the smallest p-value is 1/{len(scores) + 1}. Give at least "
            f"{_enough_for(false_alarms)}, or allow a higher rate.",
            stacklevel=2,
        )
        return math.inf
    return float(scores[len(scores) - within])


def false_alarm_rates(
    normal_scores: Scores,
    rule: Callable[[NDArray[np.float64]], float] = conformal_threshold,
    *,
    calibration: int,
    splits: int = 200,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Measure a rule's false-alarm rate over random splits of normal scores.

    φ is set on one part of each split, and false alarms are counted on the other.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        rule: Function from calibration scores to φ.
        calibration: Number of scores to set φ on; false alarms are counted on the others.
        splits: Number of random splits.
        seed: Seed of the splits.

    Returns:
        (splits,) float64, the share of the other scores above φ in each split.

    Raises:
        ValueError: Scores that are not finite, or a ``calibration`` that leaves a part empty.

    Example:
        >>> float(false_alarm_rates(range(200), calibration=100, splits=50).mean().round(2))
        0.05
    """
    scores = checked_scores(normal_scores, "normal_scores").numpy(force=True)
    if not 0 < calibration < len(scores):
        raise ValueError(
            f"calibration={calibration} of {len(scores)} normal scores given; both parts need at "
            f"least one, so a number from 1 to {len(scores) - 1}."
        )
    rng = np.random.default_rng(seed)
    shares = np.empty(splits)
    for i in range(splits):
        shuffled = rng.permutation(scores)
        shares[i] = np.mean(shuffled[calibration:] > rule(shuffled[:calibration]))
    return shares


def false_alarm_range(
    threshold: float, normal_scores: Scores, tested: int, *, level: float = 0.95
) -> tuple[int, int]:
    """Predict the number of false alarms among new normal images for a given φ.

    φ is estimated from M calibration scores, so the number varies more than a binomial one. Where k
    calibration scores lie above φ and one is φ, the share of new scores above φ is Beta(k + 1, M −
    k) distributed, without ties and for every distribution of the scores (Vovk 2012,
    arXiv:1209.2673). With φ half-way between two scores it is approximately Beta(k + ½, M − k + ½).
    The number of alarms is therefore beta-binomial.

    Args:
        threshold: φ, as `normal_quantile` or `conformal_threshold` set it on ``normal_scores``.
        normal_scores: (M,) scores of normal images that were not trained on.
        tested: Number of new normal images tested.
        level: Share of such tests whose number lies in the range, between 0 and 1.

    Returns:
        The lowest and the highest number of false alarms.

    Raises:
        ValueError: Scores that are not finite, no image tested, or a level outside 0…1.

    Example:
        >>> false_alarm_range(conformal_threshold(range(99)), range(99), tested=100)
        (0, 12)
    """
    from scipy.stats import betabinom  # importing takes half a second

    if tested < 1 or not 0 < level < 1:
        raise ValueError(
            f"tested={tested}, level={level} given; a count from 1 and a share between 0 and 1 are "
            "needed."
        )
    scores = checked_scores(normal_scores, "normal_scores")
    if threshold == math.inf:
        return 0, 0
    above = int((scores > threshold).sum()) + (1 if bool((scores == threshold).any()) else 0.5)
    low, high = betabinom.interval(level, tested, above, len(scores) + 1 - above)
    return int(low), int(high)


def _most_within(share: float, n: int) -> int:
    """Return the largest k with k / n ≤ share, compared as floats."""
    if not 0 < share < 1:
        raise ValueError(
            f"false_alarms={share} given; a share between 0 and 1, such as 0.05, is needed."
        )
    k = round(share * n)
    return k if k / n <= share else k - 1


def _enough_for(share: float) -> int:
    """Return the smallest number of calibration scores that allows any alarm."""
    n = math.ceil(1 / share)
    return n - 1 if 1 / n <= share else n
