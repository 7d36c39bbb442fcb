"""Rules for φ that see the test set (`min_max`) or its labels (oracles), and all rules by name.

They cannot be used in practice; they serve to examine published numbers. `RULES` says what each
rule must see.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ccb_lib.metrics.checks import Scores, checked_scores
from ccb_lib.metrics.counts import ThresholdCounts, between, count_at_thresholds, rising
from ccb_lib.metrics.thresholds import conformal_threshold, normal_quantile


def min_max(scores: Scores, cut: float = 0.2) -> float:
    """Scale the scores of a whole **test set** to 0…1 and call abnormal what reaches ``cut``.

    So Skip-GANomaly's public code computes F1, at 0.2. It needs no label, yet a verdict depends on
    the most extreme images that happen to be tested beside it.

    Args:
        scores: (N,) scores of the test set.
        cut: Where to cut the scaled scores, between 0 and 1.

    Returns:
        φ between the last score under the cut and the first that reaches it.

    Raises:
        ValueError: All scores are equal or not finite, or the cut lies outside 0…1.

    Example:
        >>> min_max([0, 1, 2, 5])
        0.5
    """
    distinct = rising(checked_scores(scores)).unique_consecutive()
    if not 0 < cut < 1:
        raise ValueError(f"cut={cut} given; a number between 0 and 1, such as 0.2, is needed.")
    if len(distinct) == 1:
        raise ValueError(f"All {len(scores)} scores are {float(distinct[0]):g}, so they cannot be scaled to 0…1.")
    halves = distinct / 2  # the whole range may be more than a float holds
    scaled = (halves - halves[0]) / (halves[-1] - halves[0])
    reaches = int((scaled < cut).sum())  # the first that reaches the cut
    return float(between(distinct[reaches - 1], distinct[reaches]))


def oracle_f1(scores: Scores, labels: Scores) -> float:
    """Find the φ of the best F1 on these images: an **oracle**, since it reads the test labels.

    Where abnormal images are a share π of the set, calling everything abnormal already gives F1 =
    2π / (1 + π).

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms
        least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.

    Example:
        >>> oracle_f1([1, 2, 3, 4], [0, 0, 1, 1])
        2.5
    """
    counts = _of_both_kinds(scores, labels)
    return counts.best(2 * counts.tp.double() / (counts.tp + counts.fp + counts.tp[0]))


def oracle_accuracy(scores: Scores, labels: Scores) -> float:
    """Find the φ of the best accuracy on these images: an **oracle** that reads the test labels.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms
        least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.

    Example:
        >>> oracle_accuracy([1, 2, 3, 4], [0, 1, 1, 1])
        1.5
    """
    counts = _of_both_kinds(scores, labels)
    return counts.best(counts.tp - counts.fp)  # accuracy × N less a constant


def oracle_youden(scores: Scores, labels: Scores) -> float:
    """Find the φ of the best recall + specificity − 1 (Youden 1950): an **oracle**.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ between two distinct scores; of several that are equally good the highest, which alarms
        least.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or only one kind of image.

    Example:
        >>> oracle_youden([1, 2, 3, 4], [0, 0, 0, 1])
        3.5
    """
    counts = _of_both_kinds(scores, labels)
    # In whole numbers, so that ties are ties.
    return counts.best(counts.tp * counts.fp[0] - counts.fp * counts.tp[0])


@dataclass(frozen=True)
class Rule:
    """A named way to set φ.

    Attributes:
        sees: What it must be shown, in words.
        oracle: Whether it reads test labels; such a φ flatters.
        place: From (calibration scores of normals, test scores, test labels) to φ; each rule uses
            its part.
    """

    sees: str
    oracle: bool
    place: Callable[[Scores, Scores, Scores], float]


RULES: dict[str, Rule] = {
    "normal 95 %": Rule("held-out normals", False, lambda normals, scores, labels: normal_quantile(normals)),
    "conformal 5 %": Rule("held-out normals", False, lambda normals, scores, labels: conformal_threshold(normals)),
    "min-max 0.2": Rule("the whole test set", False, lambda normals, scores, labels: min_max(scores)),
    "oracle F1": Rule("test labels", True, lambda normals, scores, labels: oracle_f1(scores, labels)),
    "oracle accuracy": Rule("test labels", True, lambda normals, scores, labels: oracle_accuracy(scores, labels)),
    "oracle Youden": Rule("test labels", True, lambda normals, scores, labels: oracle_youden(scores, labels)),
}


def place_all(normal_scores: Scores, scores: Scores, labels: Scores) -> dict[str, float]:
    """Set φ by every rule of `RULES`.

    Args:
        normal_scores: (M,) scores of held-out normal images.
        scores: (N,) scores of the test set.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        φ by the rule's name.

    Raises:
        ValueError: As the rules do.

    Example:
        >>> place_all(range(100), [50, 60, 98, 99], [0, 0, 1, 1])["oracle F1"]
        79.0
    """
    return {name: rule.place(normal_scores, scores, labels) for name, rule in RULES.items()}


def _of_both_kinds(scores: Scores, labels: Scores) -> ThresholdCounts:
    counts = count_at_thresholds(scores, labels)
    abnormal, normal = int(counts.tp[0]), int(counts.fp[0])
    if not (abnormal and normal):
        kind = "abnormal" if abnormal else "normal"
        raise ValueError(f"All {abnormal + normal} images are {kind}; an oracle needs images of both kinds.")
    return counts
