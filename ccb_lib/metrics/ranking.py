"""How well scores rank, whatever the threshold: AUC, average precision, sensitivity at a specificity."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score

from ccb_lib.metrics.checks import both_kinds, checked_prevalence, checked_specificity
from ccb_lib.metrics.counts import all_cuts


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an abnormal image scores above a normal one, ties counting half.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.

    Returns:
        0 to 1; .5 is chance; under .5 is worse than chance and left as it is.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, or labels that are not 0/1.
    """
    scores, labels = both_kinds(scores, labels, "AUC")
    return float(roc_auc_score(labels, scores))


def average_precision(scores: ArrayLike, labels: ArrayLike, prevalence: float | None = None) -> float:
    """Area under the precision-recall curve, as scikit-learn's ``average_precision_score`` sums it.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.
        prevalence: Share of abnormal images to weigh the set to, between 0 and 1; ``None`` takes the set as it is.
            Precision depends on it: what looks good at 50 % may be useless at 1 %.

    Returns:
        0 to 1; chance is the prevalence.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, labels that are not 0/1, or a prevalence
            outside 0…1.
    """
    scores, labels = both_kinds(scores, labels, "average precision")
    weights = None
    if checked_prevalence(prevalence) is not None:
        weights = np.where(labels, prevalence / labels.mean(), (1 - prevalence) / (~labels).mean())
    return float(average_precision_score(labels, scores, sample_weight=weights))


def sensitivity_at_specificity(scores: ArrayLike, labels: ArrayLike, specificity: float = 0.95) -> float:
    """Find the highest recall among all thresholds with at least a given specificity on these images.

    The threshold is chosen on the test labels, so this describes the scores, not a usable verdict.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal.
        specificity: Share of normal images that must pass, 0 to 1.

    Returns:
        0 to 1.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, labels that are not 0/1, or a specificity
            outside 0…1.
    """
    scores, labels = both_kinds(scores, labels, "sensitivity at a specificity")
    cuts = all_cuts(scores, labels)
    abnormal, normal = cuts.tp[0], cuts.fp[0]
    return float(cuts.tp[(normal - cuts.fp) / normal >= checked_specificity(specificity)].max() / abnormal)
