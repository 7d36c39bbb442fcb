"""Testing a detector under a protocol: scores, threshold and metrics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.evaluation.feeding import score_split
from ccb_lib.evaluation.protocols import Protocol, is_imposed
from ccb_lib.metrics import (
    Metrics,
    ScoreTerms,
    anomaly_score,
    auc,
    metrics_at,
    normal_quantile,
    oracle_f1,
)

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector
    from ccb_lib.evaluation.epochs import EpochScores


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of a detector on a test set under a protocol.

    Attributes:
        protocol: The protocol of the test.
        terms: (K,) each, in the order of the split, whatever the order of scoring.
        calibration: The same for the calibration images.
        labels, ids, groups, classes: Those of the split, (K,).
        scores: (K,) float32, Eq. 2; higher is more abnormal.
        threshold: φ of Eq. 3.
        epoch: The epoch scored, from 1.
        imposed: See `is_imposed`.
    """

    protocol: Protocol
    terms: ScoreTerms
    calibration: ScoreTerms
    labels: NDArray[np.bool_]
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    classes: NDArray[np.str_]
    scores: NDArray[np.float32]
    threshold: float
    epoch: int
    imposed: bool

    @property
    def auc(self) -> float:
        """Area under the ROC curve of ``scores``."""
        return auc(self.scores, self.labels)

    @property
    def metrics(self) -> Metrics:
        """Confusion matrix, accuracy, F1 and others at ``threshold``."""
        return metrics_at(self.scores, self.labels, self.threshold)


def evaluate(
    detector: "Detector",
    split: AnomalySplit,
    protocol: Protocol,
    *,
    epochs: "EpochScores | None" = None,
) -> Evaluation:
    """Test a detector under a protocol; the detector is not changed.

    Args:
        detector: A fitted detector.
        split: Images and labels; its training normals are used if statistics are recomputed.
        protocol: For example CLEAN or RELEASED.
        epochs: The records of `EpochScores` from training; required if the protocol chooses an
            epoch.

    Raises:
        ValueError: The protocol chooses an epoch and ``epochs`` is missing.

    Example:
        >>> from ccb_lib import CLEAN, PixelPCA, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> detector = PixelPCA(components=8).fit(split.train, calibration=split.calibration)
        >>> evaluation = evaluate(detector, split, CLEAN)
        >>> evaluation.scores.shape == split.test_labels.shape
        True
    """
    if protocol.epoch != "last" and detector.scores_each_epoch:
        if epochs is None:
            raise ValueError(
                f"Protocol {protocol.name!r} takes the best epoch by test AUC, but this detector "
                "holds only its last epoch. Record the epochs while training: recorder = "
                "EpochScores(split, [protocol]); fit(…, on_epoch_end=recorder); evaluate(…, "
                "epochs=recorder)."
            )
        best = epochs.best(protocol)
        terms, calibration, epoch = best.terms, best.calibration, best.epoch
    else:
        terms, calibration = score_split(detector, split, protocol)
        epoch = len(detector.history_)
    scores = anomaly_score(terms, detector.alpha)
    threshold = threshold_under(
        protocol, terms, split.test_labels, calibration, detector.alpha, detector.false_alarms_
    )
    return Evaluation(
        protocol=protocol,
        terms=terms,
        calibration=calibration,
        labels=split.test_labels,
        ids=split.test_ids,
        groups=split.test_groups,
        classes=split.test_classes,
        scores=scores,
        threshold=threshold,
        epoch=epoch,
        imposed=is_imposed(type(detector), split.name, protocol),
    )


def threshold_under(
    protocol: Protocol,
    terms: ScoreTerms,
    labels: NDArray[np.bool_],
    calibration: ScoreTerms | None,
    alpha: float,
    false_alarms: float = 0.05,
) -> float:
    """Return φ of a protocol: a quantile of the calibration scores, or the best F1 on the test.

    Args:
        protocol: Its ``threshold`` decides.
        terms, labels: Of the test images, (K,) each; read by an oracle alone.
        calibration: Of the calibration images; ``None`` if they were not kept.
        alpha: α of Eq. 2.
        false_alarms: Share of calibration images above φ.

    Returns:
        φ; NaN if the protocol calibrates and there are no calibration scores.

    Example:
        >>> from ccb_lib import RELEASED
        >>> terms = ScoreTerms(*(np.array([1, 4], np.float32) for _ in range(2)))
        >>> threshold_under(RELEASED, terms, np.array([False, True]), None, 0.9)
        2.5
    """
    if protocol.threshold == "oracle":
        return oracle_f1(anomaly_score(terms, alpha), labels)
    if calibration is None:
        return float("nan")
    return normal_quantile(anomaly_score(calibration, alpha), false_alarms)
