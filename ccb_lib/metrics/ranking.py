"""Ranking metrics without a threshold: AUC, average precision, sensitivity at specificity.

Each metric sorts normal and abnormal scores and counts by binary search, on the device of the
scores.
"""

from torch import Tensor

from ccb_lib.metrics.checks import Scores, both_kinds, checked_prevalence, checked_specificity
from ccb_lib.metrics.counts import rank_in, rising


def auc(scores: Scores, labels: Scores) -> float:
    """Area under the ROC curve.

    It is the probability that an abnormal image scores above a normal one; a tie counts half.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        0 to 1; 0.5 is chance. A value below 0.5 is worse than chance and is returned unchanged.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, or labels that are not 0/1.

    Example:
        >>> auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
        0.875
    """
    abnormal, normal = _sorted_kinds(scores, labels, "AUC")
    return int(twice_won(abnormal, normal)) / (2 * len(abnormal) * len(normal))


def average_precision(scores: Scores, labels: Scores, prevalence: float | None = None) -> float:
    """Area under the precision-recall curve, as scikit-learn's ``average_precision_score`` sums it.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.
        prevalence: Share of abnormal images, between 0 and 1, to weight the set to; ``None`` takes
            the set as it is. Precision depends on the prevalence: a score that is precise at 50 %
            may be useless at 1 %.

    Returns:
        0 to 1; chance level is the prevalence.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, labels that are not 0/1, or
            a prevalence outside 0…1.

    Example:
        >>> average_precision([0.1, 0.4, 0.3, 0.8], [0, 0, 1, 1])
        0.8333333333333333
    """
    abnormal, normal = _sorted_kinds(scores, labels, "average precision")
    share = checked_prevalence(prevalence) or len(abnormal) / (len(abnormal) + len(normal))
    return float(precisions(abnormal, normal, share).mean())


def sensitivity_at_specificity(scores: Scores, labels: Scores, specificity: float = 0.95) -> float:
    """Find the highest recall over all thresholds with at least a given specificity.

    The threshold is chosen by these labels, so the result describes the scores, not a rule that can
    be used in practice.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.
        specificity: Share of normal images that must be called normal, 0 to 1.

    Returns:
        0 to 1.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, labels that are not 0/1, or
            a specificity outside 0…1.

    Example:
        >>> sensitivity_at_specificity([0.1, 0.4, 0.3, 0.8], [0, 0, 1, 1], 0.95)
        0.5
    """
    abnormal, normal = _sorted_kinds(scores, labels, "sensitivity at a specificity")
    checked_specificity(specificity)
    count = len(normal)
    # The smallest number of normals with needed / count ≥ specificity, compared as floats: 0.9 of
    # 10 may be a little over 9.
    needed = min(count, round(specificity * count) + 1)
    while needed > 0 and (needed - 1) / count >= specificity:
        needed -= 1
    if needed == 0:
        return 1.0  # all images may be called abnormal
    return int((abnormal > normal[needed - 1]).sum()) / len(abnormal)


def twice_won(abnormal: Tensor, normal: Tensor) -> Tensor:
    """Count twice the pairs in which the abnormal image scores higher, so that a tie counts 1.

    Args:
        abnormal: (P,) scores.
        normal: (Q,) scores, ascending.

    Returns:
        An int64 scalar, 0 to 2PQ.

    Example:
        >>> import torch
        >>> twice_won(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
        tensor(7)
    """
    below, up_to = (rank_in(normal, abnormal, ties=ties) for ties in (False, True))
    return (below + up_to).sum()


def precisions(abnormal: Tensor, normal: Tensor, prevalence: float) -> Tensor:
    """Return the precision with each abnormal image's score as the lowest that is called abnormal.

    Their mean is the average precision: each abnormal image adds 1 / P of recall.

    Args:
        abnormal: (P,) scores, ascending.
        normal: (Q,) scores, ascending.
        prevalence: Share of abnormal images to weight to.

    Returns:
        (P,) float64.

    Example:
        >>> import torch
        >>> precisions(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]), 0.5)
        tensor([0.6667, 1.0000], dtype=torch.float64)
    """
    found, false = (1 - rank_in(kind, abnormal).double() / len(kind) for kind in (abnormal, normal))
    return prevalence * found / (prevalence * found + (1 - prevalence) * false)


def _sorted_kinds(scores: Scores, labels: Scores, name: str) -> tuple[Tensor, Tensor]:
    scores, labels = both_kinds(scores, labels, name)
    return rising(scores[labels]), rising(scores[~labels])
