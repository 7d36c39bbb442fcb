"""The confusion matrix at one threshold and the metrics that follow from it.

Abnormal is the positive class. An alarm is an image called abnormal. A metric that is undefined at
a threshold (such as the precision without alarms) is NaN, shown as ``–``.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ccb_lib.metrics.checks import Scores, checked_pair, checked_prevalence, checked_threshold

CONFUSION_METRICS = ("accuracy", "precision", "recall", "specificity", "f1", "npv")


def confusion(scores: Scores, labels: Scores, threshold: float) -> NDArray[np.int64]:
    """Compute the confusion matrix at a threshold.

    Args:
        scores: (N,) scores; an image is called abnormal if and only if its score > threshold.
        labels: (N,) bool or 0/1, true is abnormal.
        threshold: φ of Eq. 3.

    Returns:
        [[TN, FP], [FN, TP]], int64, as scikit-learn's ``confusion_matrix``.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, or a threshold that is NaN.

    Example:
        >>> confusion([1, 2, 3, 4], [0, 0, 1, 1], 3).tolist()
        [[2, 0], [1, 1]]
    """
    scores, labels = checked_pair(scores, labels)
    called = scores > checked_threshold(threshold)
    return torch.bincount(2 * labels + called, minlength=4).reshape(2, 2).numpy(force=True)


@dataclass(frozen=True)
class Metrics:
    """The confusion matrix at one threshold with its metrics.

    An undefined metric is NaN, shown as ``–``.

    Attributes:
        threshold: φ; abnormal if and only if score > φ.
        tp: Abnormal images called abnormal.
        fp: Normal images called abnormal, the false alarms.
        tn: Normal images called normal.
        fn: Abnormal images called normal.
        prevalence: Share of abnormal images to which accuracy, precision, F1 and NPV are weighted;
            ``None`` is the share in the set.
        accuracy: Share of images called right.
        precision: Share of alarms that are right; undefined without alarms.
        recall: Share of abnormal images called abnormal; undefined without abnormal images.
        specificity: Share of normal images called normal; undefined without normal images.
        f1: 2TP / (2TP + FP + FN), the harmonic mean of precision and recall; undefined without
            abnormal images and without alarms.
        npv: Negative predictive value, the share of normal images among those called normal;
            undefined if none is called normal.
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
    npv: float

    @classmethod
    def from_counts(
        cls, threshold: float, tp: int, fp: int, tn: int, fn: int, prevalence: float | None = None
    ) -> "Metrics":
        """Compute the metrics of a confusion matrix.

        Args:
            threshold: φ, stored unchanged.
            tp: True positives.
            fp: False positives.
            tn: True negatives.
            fn: False negatives.
            prevalence: Share of abnormal images to weight to. The metrics are undefined if one kind
                is missing.

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
            **{
                name: float(value)
                for name, value in confusion_metrics(tp, fp, tn, fn, prevalence).items()
            },
        )

    def __str__(self) -> str:
        counts = f"φ = {self.threshold:.4g}: TP {self.tp}, FP {self.fp}, TN {self.tn}, FN {self.fn}"
        return "; ".join(
            [counts, *(f"{name} {shown(getattr(self, name))}" for name in CONFUSION_METRICS)]
        )


def metrics_at(
    scores: Scores, labels: Scores, threshold: float, *, prevalence: float | None = None
) -> Metrics:
    """Compute the confusion matrix at a threshold and its metrics.

    Args:
        scores: (N,) scores, higher is more abnormal.
        labels: (N,) bool or 0/1, true is abnormal; one kind alone is accepted, and metrics that it
            leaves undefined are NaN.
        threshold: φ of Eq. 3; abnormal if and only if score > φ.
        prevalence: Share of abnormal images, between 0 and 1, to which accuracy, precision, F1 and
            NPV are weighted; ``None`` takes the set as it is. The counts are not weighted.

    Raises:
        ValueError: Scores that are not finite, labels that are not 0/1, a threshold that is NaN, or
            a prevalence outside 0…1.

    Example:
        >>> metrics_at([1, 2, 3, 4], [0, 1, 0, 1], 2.5).f1
        0.5
    """
    (tn, fp), (fn, tp) = confusion(scores, labels, threshold)
    return Metrics.from_counts(threshold, tp, fp, tn, fn, prevalence)


def confusion_metrics(
    tp: ArrayLike | Tensor,
    fp: ArrayLike | Tensor,
    tn: ArrayLike | Tensor,
    fn: ArrayLike | Tensor,
    prevalence: float | None = None,
) -> dict[str, Tensor]:
    """Compute the metrics of one confusion matrix or of many at once.

    Args:
        tp: True positives: a number, an array or a tensor, like the next three.
        fp: False positives.
        tn: True negatives.
        fn: False negatives.
        prevalence: Share of abnormal images to weight to; ``None`` takes the counts as they are.

    Returns:
        accuracy, precision, recall, specificity, f1 and npv, float64 in the shape of the counts;
        NaN where a metric is undefined.

    Raises:
        ValueError: A prevalence outside 0…1.

    Example:
        >>> confusion_metrics(tp=9, fp=2, tn=8, fn=1)["recall"]
        tensor(0.9000, dtype=torch.float64)
    """
    tp, fp, tn, fn = (torch.as_tensor(count).double() for count in (tp, fp, tn, fn))
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
        "npv": ratio(tn, tn + fn),
    }


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide float64 tensors; NaN where ``whole`` is 0 or NaN."""
    return torch.where(whole > 0, part / whole, torch.nan)


def shown(value: float) -> str:
    """Format a metric with three decimals; NaN as ``–``.

    Exact halves are rounded up, as JavaScript's ``toFixed`` does.

    Example:
        >>> shown(0.0625)
        '0.063'
    """
    return (
        "–" if math.isnan(value) else str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP))
    )
