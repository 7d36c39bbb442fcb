"""Eq. 3: where to cut a score. An image is abnormal if and only if its score > φ.

Rules that see held-out normals alone (`normal_quantile`, `conformal_threshold`) can be used in practice. Rules that see
the test set (`min_max`) or its labels too (the oracles) cannot: they are here to read and to take apart published
numbers. `RULES` names them all and says which is which.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ccb_lib.metrics.checks import checked_scores
from ccb_lib.metrics.counts import Cuts, all_cuts, between, next_to

# ── rules that need held-out normal images only ───────────────────────────────────────────────────────────────


def normal_quantile(normal_scores: ArrayLike, false_alarms: float = 0.05) -> float:
    """Set φ so that at most a share ``false_alarms`` of held-out **normal** scores lies above it.

    The share holds for the given scores. For images yet to come it holds about; `conformal_threshold` guarantees it.
    φ lies half-way between two distinct scores, so that rounding never decides a verdict.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        false_alarms: The share of normals that may be called abnormal, between 0 and 1.

    Returns:
        The threshold φ.

    Raises:
        ValueError: No scores, scores that are not finite, or a share outside 0…1.
    """
    scores = np.sort(checked_scores(normal_scores, "normal_scores"))
    allowed = _most_within(false_alarms, len(scores))
    below = scores[len(scores) - 1 - allowed]  # the largest score that must not be an alarm
    above = scores[np.searchsorted(scores, below, side="right") :]
    return float(between(below, above[0])) if len(above) else float(next_to(below, np.inf))


def conformal_p_values(scores: ArrayLike, normal_scores: ArrayLike) -> NDArray[np.float64]:
    """Split conformal p-values: how unusual a score is among held-out normal ones.

    p = (1 + number of normal scores ≥ score) / (1 + number of normal scores). If an image is exchangeable with the
    calibration images, P(p ≤ ε) ≤ ε for every ε: calling it abnormal at p ≤ 0.05 raises a false alarm at most
    5 % of the time, averaged over calibration sets (Vovk et al. 2005; Bates et al. 2023, arXiv:2104.08279).

    Args:
        scores: (N,) scores to judge.
        normal_scores: (M,) scores of normal images that were not trained on.

    Returns:
        (N,) float64 in (0, 1]; lower is more abnormal.

    Raises:
        ValueError: No normal scores, or scores that are not finite.
    """
    calibration = np.sort(checked_scores(normal_scores, "normal_scores"))
    at_least = len(calibration) - np.searchsorted(calibration, checked_scores(scores), side="left")
    return (1 + at_least) / (1 + len(calibration))


def conformal_threshold(normal_scores: ArrayLike, false_alarms: float = 0.05) -> float:
    """Set φ so that score > φ if and only if the conformal p-value ≤ ``false_alarms``.

    The guarantee: an image exchangeable with the calibration images is called abnormal with probability at most
    ``false_alarms``, averaged over calibration sets, whatever the detector and however small M is. Given one
    calibration set the rate still varies around that, as a Beta distribution (Vovk 2012, arXiv:1209.2673).

    φ is a calibration score itself: for the equivalence to hold for every score, no other number will do.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        false_alarms: The rate ε, between 0 and 1.

    Returns:
        The threshold φ; ``inf``, with a warning, where M < 1/ε − 1: the smallest p-value is then 1/(M + 1) > ε, so
        nothing can be called abnormal at that rate.

    Raises:
        ValueError: No scores, scores that are not finite, or a rate outside 0…1.
    """
    scores = np.sort(checked_scores(normal_scores, "normal_scores"))
    within = _most_within(false_alarms, len(scores) + 1)  # the greatest numerator of p that is still an alarm
    if within == 0:
        warnings.warn(
            f"{len(scores)} calibration scores cannot call anything abnormal at a false-alarm rate of {false_alarms}: "
            f"the smallest p-value is 1/{len(scores) + 1}. Give at least {_enough_for(false_alarms)}, or allow a "
            "higher rate.",
            stacklevel=2,
        )
        return math.inf
    return float(scores[len(scores) - within])


# ── rules that see the test set: for teaching and for reading published numbers ───────────────────────────────


def min_max(scores: ArrayLike, cut: float = 0.2) -> float:
    """Scale the scores of a whole **test set** to 0…1 and call abnormal what reaches ``cut``.

    So Skip-GANomaly's public code computes F1, at 0.2. It needs no label, yet a verdict depends on the most extreme
    images that happen to be tested beside it.

    Args:
        scores: (N,) scores of the test set.
        cut: Where to cut the scaled scores, between 0 and 1.

    Returns:
        φ between the last score under the cut and the first that reaches it.

    Raises:
        ValueError: All scores are equal or not finite, or the cut lies outside 0…1.
    """
    distinct = np.unique(checked_scores(scores))
    if not 0 < cut < 1:
        raise ValueError(f"cut={cut} given; a number between 0 and 1, such as 0.2, is needed.")
    if len(distinct) == 1:
        raise ValueError(f"All {np.size(scores)} scores are {distinct[0]:g}, so they cannot be scaled to 0…1.")
    halves = distinct / 2  # the whole range may be more than a float holds
    reaches = int(np.argmax((halves - halves[0]) / (halves[-1] - halves[0]) >= cut))
    return float(between(distinct[reaches - 1], distinct[reaches]))


def oracle_f1(scores: ArrayLike, labels: ArrayLike) -> float:
    """Find the φ of the best F1 on these very images: an **oracle**, since it reads the test labels.

    Where abnormal images are a share π of the set, calling everything abnormal already gives F1 = 2π / (1 + π).

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.
    """
    cuts = _two_sided(scores, labels)
    abnormal = cuts.tp[0]
    return cuts.best(2 * cuts.tp / (cuts.tp + cuts.fp + abnormal))


def oracle_accuracy(scores: ArrayLike, labels: ArrayLike) -> float:
    """Find the φ of the best accuracy on these very images: an **oracle**, since it reads the test labels.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.
    """
    cuts = _two_sided(scores, labels)
    return cuts.best(cuts.tp - cuts.fp)  # accuracy × N less a constant


def oracle_youden(scores: ArrayLike, labels: ArrayLike) -> float:
    """Find the φ of the best recall + specificity − 1 (Youden 1950) on these very images: an **oracle**.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.
    """
    cuts = _two_sided(scores, labels)
    return cuts.best(cuts.tp * cuts.fp[0] - cuts.fp * cuts.tp[0])  # whole numbers, so that ties are ties


@dataclass(frozen=True)
class Rule:
    """A named way to set φ.

    Attributes:
        sees: What it must be shown, in words.
        oracle: Whether it reads test labels; such a φ flatters.
        place: From (calibration scores of normals, test scores, test labels) to φ; each rule uses its part.
    """

    sees: str
    oracle: bool
    place: Callable[[ArrayLike, ArrayLike, ArrayLike], float]


RULES: dict[str, Rule] = {
    "normal 95 %": Rule("held-out normals", False, lambda normals, scores, labels: normal_quantile(normals)),
    "conformal 5 %": Rule("held-out normals", False, lambda normals, scores, labels: conformal_threshold(normals)),
    "min-max 0.2": Rule("the whole test set", False, lambda normals, scores, labels: min_max(scores)),
    "oracle F1": Rule("test labels", True, lambda normals, scores, labels: oracle_f1(scores, labels)),
    "oracle accuracy": Rule("test labels", True, lambda normals, scores, labels: oracle_accuracy(scores, labels)),
    "oracle Youden": Rule("test labels", True, lambda normals, scores, labels: oracle_youden(scores, labels)),
}


def place_all(normal_scores: ArrayLike, scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Set φ by every rule of `RULES`.

    Args:
        normal_scores: (M,) scores of held-out normal images.
        scores: (N,) scores of the test set.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ by the rule's name.

    Raises:
        ValueError: As the rules do.
    """
    return {name: rule.place(normal_scores, scores, labels) for name, rule in RULES.items()}


def false_alarm_rates(
    normal_scores: ArrayLike,
    rule: Callable[[NDArray[np.float64]], float] = conformal_threshold,
    *,
    calibration: int,
    splits: int = 200,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Measure a rule: split normal scores at random, set φ on one part, count false alarms on the other.

    Args:
        normal_scores: (M,) scores of normal images that were not trained on.
        rule: From calibration scores to φ.
        calibration: How many scores to set φ on; the others are counted.
        splits: How many times to split.
        seed: Of the splits.

    Returns:
        (splits,) float64, the share of the other scores that lies above φ.

    Raises:
        ValueError: Scores that are not finite, or a size that leaves a part empty.
    """
    scores = checked_scores(normal_scores, "normal_scores")
    if not 0 < calibration < len(scores):
        raise ValueError(
            f"calibration={calibration} of {len(scores)} normal scores given; both parts need at least one, so "
            f"a number from 1 to {len(scores) - 1}."
        )
    rng = np.random.default_rng(seed)
    rates = np.empty(splits)
    for i in range(splits):
        shuffled = rng.permutation(scores)
        rates[i] = np.mean(shuffled[calibration:] > rule(shuffled[:calibration]))
    return rates


def _two_sided(scores: ArrayLike, labels: ArrayLike) -> Cuts:
    cuts = all_cuts(scores, labels)
    if not (cuts.tp[0] and cuts.fp[0]):
        kind = "abnormal" if cuts.tp[0] else "normal"
        raise ValueError(f"All {cuts.tp[0] + cuts.fp[0]} images are {kind}; an oracle needs images of both kinds.")
    return cuts


def _most_within(share: float, n: int) -> int:
    """Return the greatest k with k / n ≤ share, as floats compare."""
    if not 0 < share < 1:
        raise ValueError(f"false_alarms={share} given; a share between 0 and 1, such as 0.05, is needed.")
    k = round(share * n)
    return k if k / n <= share else k - 1


def _enough_for(share: float) -> int:
    """Return the smallest number of calibration scores that can call anything abnormal."""
    n = math.ceil(1 / share)
    return n - 1 if 1 / n <= share else n
