"""How good scores and verdicts are: scikit-learn's measures, held to what a test set can tell.

Higher scores are more abnormal, and abnormal is the positive class. An AUC under .5 is reported as it is, never
flipped. What is undefined at a threshold (the precision of no alarm) is NaN, and shows as ``–``; what is undefined for
a whole set (the AUC of one kind of image) is an error. Intervals are in `ccb_lib.intervals`.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from ccb_lib.cuts import all_cuts, checked_pair

RATES = ("accuracy", "precision", "recall", "specificity", "f1")


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


def confusion(scores: ArrayLike, labels: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Count verdicts by truth at a threshold.

    Args:
        scores: (N,) scores; an image is called abnormal if and only if its score > threshold.
        labels: (N,) bool or 0/1, true is abnormal.
        threshold: φ of Eq. 3.

    Returns:
        [[TN, FP], [FN, TP]], int64, as scikit-learn's ``confusion_matrix``.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or a threshold that is NaN.
    """
    scores, labels = checked_pair(scores, labels)
    return confusion_matrix(labels, scores > checked_threshold(threshold), labels=[False, True])


@dataclass(frozen=True)
class Metrics:
    """Verdicts at one threshold, counted and rated; what is undefined is NaN, and shows as ``–``.

    Attributes:
        threshold: φ; abnormal if and only if score > φ.
        tp: Abnormal images that were found.
        fp: Normal images that were called abnormal.
        tn: Normal images that were passed.
        fn: Abnormal images that were missed.
        prevalence: Share of abnormal images that accuracy, precision and F1 are weighed to; ``None`` is as counted.
        accuracy: Share of right verdicts.
        precision: Share of alarms that are right; undefined without alarms.
        recall: Share of abnormal images that are found; undefined without abnormal images.
        specificity: Share of normal images that are passed; undefined without normal images.
        f1: 2TP / (2TP + FP + FN), the harmonic mean of precision and recall; undefined without abnormal images
            and without alarms.
    """

    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    prevalence: float | None
    accuracy: float
    precision: float
    recall: float
    specificity: float
    f1: float

    @classmethod
    def from_counts(
        cls, threshold: float, tp: int, fp: int, tn: int, fn: int, prevalence: float | None = None
    ) -> "Metrics":
        """Rate a confusion matrix.

        Args:
            threshold: φ, kept as it is.
            tp: Abnormal images found.
            fp: False alarms.
            tn: Normal images passed.
            fn: Abnormal images missed.
            prevalence: Weigh the two kinds to this share of abnormal images; undefined where one kind is missing.

        Raises:
            ValueError: A prevalence outside 0…1.
        """
        return cls(
            threshold=float(threshold),
            tp=int(tp),
            fp=int(fp),
            tn=int(tn),
            fn=int(fn),
            prevalence=prevalence,
            **{name: float(rate) for name, rate in rates(tp, fp, tn, fn, prevalence).items()},
        )

    def __str__(self) -> str:
        counts = f"φ = {self.threshold:.4g}: TP {self.tp}, FP {self.fp}, TN {self.tn}, FN {self.fn}"
        return "; ".join([counts, *(f"{name} {shown(getattr(self, name))}" for name in RATES)])


def metrics_at(scores: ArrayLike, labels: ArrayLike, threshold: float, *, prevalence: float | None = None) -> Metrics:
    """Count and rate the verdicts at a threshold.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal; one kind alone will do, what it leaves undefined is NaN.
        threshold: φ of Eq. 3; abnormal if and only if score > φ.
        prevalence: Share of abnormal images to weigh accuracy, precision and F1 to, between 0 and 1; ``None`` takes
            the set as it is. The counts stay as counted.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is NaN, or a prevalence
            outside 0…1.
    """
    (tn, fp), (fn, tp) = confusion(scores, labels, threshold)
    return Metrics.from_counts(threshold, tp, fp, tn, fn, prevalence)


def rates(
    tp: ArrayLike, fp: ArrayLike, tn: ArrayLike, fn: ArrayLike, prevalence: float | None = None
) -> dict[str, Any]:
    """Rate confusion matrices, one or many at once.

    Args:
        tp: Abnormal images found; a number or an array, as the next three.
        fp: False alarms.
        tn: Normal images passed.
        fn: Abnormal images missed.
        prevalence: Weigh the two kinds to this share of abnormal images; ``None`` takes them as counted.

    Returns:
        accuracy, precision, recall, specificity and f1, float64 in the shape given; NaN where undefined.

    Raises:
        ValueError: A prevalence outside 0…1.
    """
    tp, fp, tn, fn = (np.asarray(count) for count in (tp, fp, tn, fn))
    recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    if checked_prevalence(prevalence) is not None:
        tp, fn = prevalence * recall, prevalence * (1 - recall)
        tn, fp = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    return {
        "accuracy": ratio(tp + tn, tp + fp + tn + fn),
        "precision": ratio(tp, tp + fp),
        "recall": recall,
        "specificity": specificity,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


def ratio(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """Divide; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def shown(value: float) -> str:
    """Write a rate with three decimals, exact halves rounded up as JavaScript's ``toFixed`` does; NaN as ``–``."""
    return "–" if math.isnan(value) else str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP))


def both_kinds(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores as (N,) float64 and labels as (N,) bool.

    Args:
        scores: One axis of finite numbers.
        labels: As many bools, or zeros and ones, both of them present.
        name: The measure that needs both kinds, for errors.

    Raises:
        ValueError: Only one kind of image, scores that are not finite, or labels that are not 0/1.
    """
    scores, labels = checked_pair(scores, labels)
    if labels.all() or not labels.any():
        kind, other = ("abnormal", "normal") if labels.all() else ("normal", "abnormal")
        raise ValueError(f"All {len(labels)} images are {kind}; {name} compares two kinds. Add {other} images.")
    return scores, labels


def checked_prevalence(prevalence: float | None) -> float | None:
    """Return the prevalence, or raise ValueError where it is no share strictly between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"prevalence={prevalence} given; a share between 0 and 1, such as 0.05, or None is needed.")
    return prevalence


def checked_specificity(specificity: float) -> float:
    """Return the specificity, or raise ValueError where it is no share from 0 to 1."""
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity={specificity} given; a share from 0 to 1, such as 0.95, is needed.")
    return specificity


def checked_threshold(threshold: float) -> float:
    """Return the threshold, or raise ValueError where it is NaN; ±inf calls nothing or everything abnormal."""
    if math.isnan(threshold):
        raise ValueError("threshold=nan given; a number is needed.")
    return float(threshold)
