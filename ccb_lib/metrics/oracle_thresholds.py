"""Rules for φ that use the test set (`min_max`) or its labels (the oracles); a table of all rules.

They cannot be used in practice; they are here to examine published numbers. `RULES` states what
data each rule uses.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ccb_lib.metrics.checks import Scores, checked_scores
from ccb_lib.metrics.counts import ThresholdCounts, between, count_at_thresholds, rising
from ccb_lib.metrics.thresholds import conformal_threshold, normal_quantile


def min_max(scores: Scores, cut: float = 0.2) -> float:
    """Scale the scores of a whole **test set** to 0…1; abnormal is a scaled score ≥ ``cut``.

    The public code of Skip-GANomaly computes F1 this way, at 0.2. The rule needs no labels, but the
    prediction for an image depends on the extreme scores of the other test images.

    Args:
        scores: (N,) scores of the test set.
        cut: Threshold of the scaled scores, between 0 and 1.

    Returns:
        φ between the highest score below the cut and the lowest at or above it.

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
        raise ValueError(
            f"All {len(scores)} scores are {float(distinct[0]):g}, so they cannot be scaled to 0…1."
        )
    halves = distinct / 2  # the range of the scores may overflow
    first_above = int(((halves - halves[0]) / (halves[-1] - halves[0]) < cut).sum())
    return float(between(distinct[first_above - 1], distinct[first_above]))


def oracle_f1(scores: Scores, labels: Scores) -> float:
    """Find the φ with the best F1 on these images: an **oracle**, because it reads their labels.

    If abnormal images are a share π of the set, calling all images abnormal already gives F1 = 2π /
    (1 + π).

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
    """Find the φ with the best accuracy on these images: an **oracle**, because it reads labels.

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
    return counts.best(counts.tp - counts.fp)  # accuracy × N minus a constant


def oracle_youden(scores: Scores, labels: Scores) -> float:
    """Find the φ with the best recall + specificity − 1 (Youden 1950): an **oracle**.

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
    # In whole numbers, so that equal merits compare as equal.
    return counts.best(counts.tp * counts.fp[0] - counts.fp * counts.tp[0])


@dataclass(frozen=True)
class Rule:
    """A named way to set φ.

    Attributes:
        sees: The data that it uses, as a text.
        oracle: Whether it reads test labels; metrics at such a φ are too optimistic.
        place: Function from (calibration scores of normals, test scores, test labels) to φ; each
            rule uses only the data named in ``sees``.
    """

    sees: str
    oracle: bool
    place: Callable[[Scores, Scores, Scores], float]


RULES: dict[str, Rule] = {
    "normal 95 %": Rule(
        "calibration images", False, lambda normals, scores, labels: normal_quantile(normals)
    ),
    "conformal 5 %": Rule(
        "calibration images", False, lambda normals, scores, labels: conformal_threshold(normals)
    ),
    "min-max 0.2": Rule(
        "the whole test set", False, lambda normals, scores, labels: min_max(scores)
    ),
    "oracle F1": Rule(
        "test labels", True, lambda normals, scores, labels: oracle_f1(scores, labels)
    ),
    "oracle accuracy": Rule(
        "test labels", True, lambda normals, scores, labels: oracle_accuracy(scores, labels)
    ),
    "oracle Youden": Rule(
        "test labels", True, lambda normals, scores, labels: oracle_youden(scores, labels)
    ),
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
        raise ValueError(
            f"All {abnormal + normal} images are {kind}; an oracle needs images of both kinds."
        )
    return counts
