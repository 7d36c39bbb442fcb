"""Protocols: how a test set is scored, from RELEASED to CLEAN in small steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.evaluation.feeding import score_split
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

BATCH_NORMS = ("running", "recomputed", "batch")
ORDERS = ("any", "normals then abnormals", "normals by class then abnormals", "shuffled")
EPOCHS = ("last", "best by test AUC")
THRESHOLDS = ("calibrated", "oracle")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a test set is scored and judged; one field for each choice.

    Attributes:
        name: Name in tables.
        batch_norm: Statistics of batch norm: ``"running"``, the running statistics of training;
            ``"recomputed"``, those of the training normals with the final weights; or ``"batch"``,
            those of each test batch, which networks in training mode use.
        dropout: Whether dropout is active.
        order: Order of the test images: ``"any"`` where it does not affect scores; ``"normals then
            abnormals"``, the normals in mixed order; ``"normals by class then abnormals"``; or
            ``"shuffled"``, all images with a fixed seed.
        batch_size: Images scored together; the last batch may be smaller.
        epoch: ``"last"``, or ``"best by test AUC"``, which needs test labels.
        threshold: ``"calibrated"`` on held-out normals, or ``"oracle"``, the best F1 on the test
            set itself.
        draw: Number of the balanced draw of held-out normals that a run is scored on. With batch
            statistics a score depends on the other images of its batch, so draws differ. 0 is the
            data set's own draw. `evaluate` ignores it and scores the split that it is given.
    """

    name: str
    batch_norm: str = "running"
    dropout: bool = False
    order: str = "any"
    batch_size: int = 256
    epoch: str = "last"
    threshold: str = "calibrated"
    draw: int = 0

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: A field has an unknown value, or the order is ``"any"`` with batch
                statistics.
        """
        for field, values in (
            ("batch_norm", BATCH_NORMS),
            ("order", ORDERS),
            ("epoch", EPOCHS),
            ("threshold", THRESHOLDS),
        ):
            if getattr(self, field) not in values:
                given = getattr(self, field)
                raise ValueError(
                    f"Protocol {self.name!r}: {field}={given!r} given; one of {values} is needed."
                )
        if self.batch_size < 1:
            raise ValueError(
                f"Protocol {self.name!r}: batch_size={self.batch_size} given; at least 1 is needed."
            )
        if self.batch_norm == "batch" and self.order == "any":
            raise ValueError(
                f"Protocol {self.name!r}: with batch statistics the order matters; name one."
            )
        if self.draw < 0 or (self.draw and self.batch_norm != "batch"):
            raise ValueError(
                f"Protocol {self.name!r}: draw={self.draw} given; a number from 0 is needed, and 0 "
                "without batch statistics, where the scores of any draw follow from those of all "
                "images."
            )

    @property
    def feeding(self) -> tuple[str, bool, str, int]:
        """The fields that determine scores for given weights; if they are equal, so are scores."""
        return (self.batch_norm, self.dropout, self.order, self.batch_size)


CLEAN = Protocol(name="clean")
"""``eval()``, last epoch, φ from held-out normals: a score depends on its image alone."""

RELEASED = Protocol(
    name="released",
    batch_norm="batch",
    dropout=True,
    order="normals then abnormals",
    batch_size=64,
    epoch="best by test AUC",
    threshold="oracle",
)
"""The test loop of the public Skip-GANomaly code.

It uses batch statistics over batches of one kind of image, and the best epoch by test AUC.

That code trains on all 45,000 normal training images of CIFAR-10. This library trains on 42,750 of
them. The other 5 % are for calibration: no protocol trains on them, so that all protocols share one
training. That code computes an AUC and no φ: the oracle threshold is an assumption.
"""

RELEASED_DRAWS: tuple[Protocol, ...] = tuple(
    replace(RELEASED, name=f"released, draw {k}", draw=k) for k in range(1, 5)
)
"""RELEASED on four more balanced draws of held-out normals; results average these and RELEASED."""

LAST_EPOCH = replace(RELEASED, name="last epoch", threshold="calibrated", epoch="last")
"""RELEASED without a choice by test labels."""

STEPS_TO_CLEAN: tuple[Protocol, ...] = (
    RELEASED,
    replace(RELEASED, name="threshold calibrated", threshold="calibrated"),
    LAST_EPOCH,
    replace(RELEASED, name="no dropout", threshold="calibrated", epoch="last", dropout=False),
    replace(
        RELEASED,
        name="shuffled",
        threshold="calibrated",
        epoch="last",
        dropout=False,
        order="shuffled",
    ),
    CLEAN,
)
"""From RELEASED to CLEAN, one choice at a time.

The last step changes three fields, because with running statistics the order and the batch size no
longer affect scores."""

CLEAN_BEST_EPOCH = replace(CLEAN, name="clean, best epoch (oracle)", epoch="best by test AUC")
"""CLEAN at the epoch with the best test AUC; it also gives the AUC after each epoch."""

SINGLE_CHANGES: tuple[Protocol, ...] = (
    replace(RELEASED, name="released, shuffled", order="shuffled"),
    replace(RELEASED, name="released, normals by class", order="normals by class then abnormals"),
    replace(RELEASED, name="released, one at a time, last epoch", batch_size=1, epoch="last"),
    replace(CLEAN, name="clean, statistics recomputed", batch_norm="recomputed"),
    CLEAN_BEST_EPOCH,
    replace(CLEAN, name="clean, oracle φ", threshold="oracle"),
)
"""RELEASED or CLEAN with one change, to attribute the difference between them."""


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
        imposed: Whether the protocol uses batch statistics though the method's public code does
            not.
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
    """
    chooses = protocol.epoch != "last" and detector.scores_each_epoch
    if chooses:
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
        imposed=protocol.batch_norm == "batch" and not detector.released_in_train_mode,
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
        >>> terms = ScoreTerms(*(np.array([1, 4], np.float32) for _ in range(2)))
        >>> threshold_under(RELEASED, terms, np.array([False, True]), None, 0.9)
        2.5
    """
    if protocol.threshold == "oracle":
        return oracle_f1(anomaly_score(terms, alpha), labels)
    if calibration is None:
        return float("nan")
    return normal_quantile(anomaly_score(calibration, alpha), false_alarms)


def differing_fields(a: Protocol, b: Protocol) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two protocols differ, except their names."""
    fields: Sequence[str] = [name for name in Protocol.__dataclass_fields__ if name != "name"]
    return {
        name: (getattr(a, name), getattr(b, name))
        for name in fields
        if getattr(a, name) != getattr(b, name)
    }
