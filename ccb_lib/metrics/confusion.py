"""How good scores and verdicts are: scikit-learn's measures, held to what a test set can tell.

Higher scores are more abnormal, and abnormal is the positive class. An AUC under .5 is reported as it is, never
flipped. What is undefined at a threshold (the precision of no alarm) is NaN, and shows as ``–``; what is undefined for
a whole set (the AUC of one kind of image) is an error. Intervals are in `ccb_lib.metrics.bootstrap`.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix

from ccb_lib.metrics.checks import checked_pair, checked_prevalence, checked_threshold

RATES = ("accuracy", "precision", "recall", "specificity", "f1")


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
