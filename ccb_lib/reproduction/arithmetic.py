"""Bounds on the test set behind a reported pair of accuracy and F1.

The arithmetic assumes that a pair holds rounded values of **one** confusion matrix, with abnormal
as the positive class. All quantities are shares of all test images:

    t  true positives: abnormal and called abnormal
    e  errors of both kinds: 1 − accuracy
    p  prevalence: the share of abnormal images

The shares of false negatives, false positives and true negatives are then p − t, e − (p − t) and 1
− e − t. None of these can be negative. The bounds below follow from this.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import numpy as np


class PrevalenceInterval(NamedTuple):
    """A closed interval.

    Attributes:
        low, high: Its ends, low ≤ high.
    """

    low: float
    high: float

    def __str__(self) -> str:
        """Format the ends with three decimals, as the paper does."""
        return f"[{self.low:.3f}, {self.high:.3f}]"


class OperatingPoint(NamedTuple):
    """The point of a pair in the ROC plane.

    Attributes:
        recall: Share of abnormal images called abnormal, 0…1; higher is better.
        false_alarms: Share of normal images called abnormal, 0…1; lower is better.
    """

    recall: float
    false_alarms: float


def true_positive_share(accuracy: float, f1: float) -> float:
    """Compute t, the true positives as a share of **all** test images, from a pair.

    Precision is t over the share called abnormal, recall is t over the share that is abnormal.
    Their harmonic mean is F1 = 2t / (2t + e): errors of both kinds have the same weight, and true
    negatives do not enter. Hence t = F1 · e / (2 · (1 − F1)) with e = 1 − accuracy.

    Args:
        accuracy: Share of images classified correctly, 0…1, taken as exact.
        f1: Harmonic mean of precision and recall, 0…1, taken as exact.

    Returns:
        t, at least 0. If t is above ``accuracy``, no confusion matrix gives this pair.

    Raises:
        ValueError: A value is outside 0…1, or F1 = 1. With F1 = 1 there are no errors and t is not
            determined.
    """
    _check_share(accuracy, "accuracy")
    _check_share(f1, "f1")
    if f1 == 1:
        raise ValueError(
            "f1=1 given: without errors a pair does not determine the share of abnormal images. "
            "Give a value below 1."
        )
    return f1 * (1 - accuracy) / (2 * (1 - f1))


def possible_prevalence(accuracy: float, f1: float, decimals: int = 3) -> PrevalenceInterval | None:
    """Bound the share of abnormal images in a test set that can give a reported pair.

    t is known (`true_positive_share`). False negatives cannot be negative, so p ≥ t. False
    positives cannot be negative, so p ≤ t + e. Both bounds increase with e and with F1, so two
    corners of the rounding box give the extreme values. True negatives cannot be negative either,
    so t + e ≤ 1.

    Args:
        accuracy: As reported, 0…1.
        f1: As reported, 0…1.
        decimals: Digits after the point to which both were rounded.

    Returns:
        The lowest and highest possible prevalence; ``None`` if no confusion matrix rounds to the
        pair.

    Raises:
        ValueError: A value outside 0…1, or with more digits than ``decimals``.
    """
    half, scale = 0.5 / 10**decimals, 10**decimals
    errors = 1 - _digits(accuracy, "accuracy", decimals) / scale
    reported_f1 = _digits(f1, "f1", decimals) / scale
    e_low, e_high = max(errors - half, 0.0), min(errors + half, 1.0)
    f_low, f_high = max(reported_f1 - half, 0.0), reported_f1 + half
    low = true_positive_share(1 - e_low, f_low)
    if low + e_low > 1:
        return None
    high = true_positive_share(1 - e_high, f_high) + e_high if f_high < 1 else 1.0
    return PrevalenceInterval(low, min(high, 1.0))


def common_prevalence(
    pairs: Iterable[tuple[float, float]], decimals: int = 3
) -> PrevalenceInterval | None:
    """Bound the prevalence that can give **all** pairs: the overlap of `possible_prevalence`.

    Args:
        pairs: (accuracy, F1) as reported, 0…1.
        decimals: Digits after the point to which they were rounded.

    Returns:
        The overlap; ``None`` if it is empty, so that no single prevalence gives all pairs.

    Raises:
        ValueError: There are no pairs, or `possible_prevalence` rejects a value.
    """
    intervals = [possible_prevalence(accuracy, f1, decimals) for accuracy, f1 in pairs]
    if not intervals:
        raise ValueError("No pairs given; at least one (accuracy, F1) is needed.")
    if None in intervals:
        return None
    low, high = max(i.low for i in intervals), min(i.high for i in intervals)
    return PrevalenceInterval(low, high) if low <= high else None


def operating_point(
    accuracy: float, f1: float, prevalence: float = 0.5, decimals: int = 3
) -> OperatingPoint:
    """Find the operating point of a pair, given the prevalence.

    Recall is t / p, the false-alarm rate (e − p + t) / (1 − p).

    Args:
        accuracy: As reported, 0…1.
        f1: As reported, 0…1. Both are taken as exact; results outside 0…1 are clipped.
        prevalence: Share of abnormal images in the test set, inside the interval of
            `possible_prevalence`.
        decimals: Digits after the point to which both were rounded.

    Returns:
        Recall and false-alarm rate.

    Raises:
        ValueError: No confusion matrix gives the pair at that prevalence (the message names the
            possible interval), or F1 = 1.
    """
    possible = possible_prevalence(accuracy, f1, decimals)
    inside = possible is not None and possible.low <= prevalence <= possible.high
    if not inside or not 0 < prevalence < 1:
        where = "at no prevalence" if possible is None else f"only within {possible}"
        raise ValueError(
            f"prevalence={prevalence} given; accuracy {accuracy} with F1 {f1} is possible {where}. "
            "Give such a prevalence, above 0 and below 1."
        )
    errors, share = 1 - accuracy, true_positive_share(accuracy, f1)
    recall, false_alarms = share / prevalence, (errors - prevalence + share) / (1 - prevalence)
    return OperatingPoint(min(max(recall, 0.0), 1.0), min(max(false_alarms, 0.0), 1.0))


def attainable(
    accuracy: float, f1: float, positives: int, negatives: int, decimals: int = 3
) -> list[tuple[int, int]]:
    """List the confusion matrices on a test set of known size that round to a reported pair.

    With P + N images the accuracy is k / (P + N) for a whole number k of correctly classified
    images. For each k and each count tp, the false positives are fp = N − k + tp and F1 = 2 tp /
    (2 tp + P + N − k). The computation uses whole numbers only, so it has no floating-point error.
    A value half-way between two rounded values may round either way.

    Args:
        accuracy: As reported, 0…1.
        f1: As reported, 0…1.
        positives: P, the abnormal images in the test set, at least 1.
        negatives: N, the normal images, at least 1.
        decimals: Digits after the point to which both were rounded.

    Returns:
        (tp, fp): true and false positives, by increasing tp. Empty if no confusion matrix of this
        size rounds to the pair.

    Raises:
        ValueError: A value is outside 0…1 or has more digits than ``decimals``, or a class has no
            images.
    """
    if positives < 1 or negatives < 1:
        given = f"positives={positives}, negatives={negatives}"
        raise ValueError(f"{given} given; at least 1 image of each is needed.")
    total, scale = positives + negatives, 10**decimals
    wanted, wanted_f1 = _digits(accuracy, "accuracy", decimals), _digits(f1, "f1", decimals)
    fewest = -(-total * (2 * wanted - 1) // (2 * scale))  # rounded up
    most = total * (2 * wanted + 1) // (2 * scale)
    found = []
    for right in range(max(fewest, 0), min(most, total) + 1):
        tp = np.arange(max(right - negatives, 0), min(right, positives) + 1)
        whole = 2 * tp + total - right  # the denominator of F1, at least P
        fits = tp[2 * abs(2 * tp * scale - wanted_f1 * whole) <= whole]
        found += [(int(t), int(negatives - right + t)) for t in fits]
    return sorted(found)


def _digits(value: float, name: str, decimals: int) -> int:
    """Return the reported digits as a whole number: 0.952 at three decimals is 952."""
    _check_share(value, name)
    digits = Decimal(str(value)).scaleb(decimals)
    if digits != digits.to_integral_value():
        raise ValueError(
            f"{name}={value} given with decimals={decimals}. Round it, or give its number of "
            "digits."
        )
    return int(digits)


def _check_share(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(
            f"{name}={value} given; a share from 0 to 1 is needed. Divide a percentage by 100."
        )
