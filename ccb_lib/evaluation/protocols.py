"""How a test set is fed to a detector, as a value that one can change: from RELEASED to CLEAN, a field at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.evaluation.feeding import score_split
from ccb_lib.metrics import Metrics, ScoreTerms, anomaly_score, auc, metrics_at, normal_quantile, oracle_f1

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector
    from ccb_lib.evaluation.epochs import EpochScores

BATCH_NORMS = ("running", "recomputed", "batch")
ORDERS = ("any", "normals then abnormals", "normals by class then abnormals", "shuffled")
EPOCHS = ("last", "best by test AUC")
THRESHOLDS = ("calibrated", "oracle")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One field for each way in which a test can differ.

    Attributes:
        name: What tables call it.
        batch_norm: ``"running"`` statistics of training; ``"recomputed"`` on the training normals with the final
            weights; or the test ``"batch"``'s own, as networks left in training mode use.
        dropout: Whether dropout is active.
        order: ``"any"`` where it cannot matter; ``"normals then abnormals"``, the normals mixed;
            ``"normals by class then abnormals"``; ``"shuffled"``, all together by a fixed seed.
        batch_size: Images scored together; the last batch may be short.
        epoch: ``"last"``, or ``"best by test AUC"``, which needs test labels.
        threshold: ``"calibrated"`` on held-out normals, or ``"oracle"``, the best F1 on the test itself.
        draw: Which of several balanced draws of the held-out normals a run is scored on, where batch
            statistics make the company matter; 0 is the data set's own. `evaluate` takes the test of the
            split that it is given.
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
            ValueError: A field has none of its values, or the order is left open where it matters.
        """
        for field, values in (
            ("batch_norm", BATCH_NORMS),
            ("order", ORDERS),
            ("epoch", EPOCHS),
            ("threshold", THRESHOLDS),
        ):
            if getattr(self, field) not in values:
                given = getattr(self, field)
                raise ValueError(f"Protocol {self.name!r}: {field}={given!r} given; one of {values} is needed.")
        if self.batch_size < 1:
            raise ValueError(f"Protocol {self.name!r}: batch_size={self.batch_size} given; at least 1 is needed.")
        if self.batch_norm == "batch" and self.order == "any":
            raise ValueError(f"Protocol {self.name!r}: with batch statistics the order matters; name one.")
        if self.draw < 0 or (self.draw and self.batch_norm != "batch"):
            raise ValueError(
                f"Protocol {self.name!r}: draw={self.draw} given; a number from 0 is needed, and 0 without batch "
                "statistics, where the scores of any draw follow from those of all images."
            )

    @property
    def feeding(self) -> tuple[str, bool, str, int]:
        """What decides the scores of given weights: protocols that agree in it share them."""
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
"""The test loop of the public Skip-GANomaly code: batch statistics over pure batches, best epoch by test AUC.

That code trains on all 45,000 normal training images of CIFAR-10, this library on 42,750: 5 % are kept for
calibration, which every protocol leaves out of training so that one training serves all. That code computes an AUC and
no φ: the oracle is an assumption.
"""

RELEASED_DRAWS: tuple[Protocol, ...] = tuple(replace(RELEASED, name=f"released, draw {k}", draw=k) for k in range(1, 5))
"""RELEASED on four further balanced draws of the held-out normals; average over these and RELEASED."""

LAST_EPOCH = replace(RELEASED, name="last epoch", threshold="calibrated", epoch="last")
"""RELEASED without any choice by test labels."""

STEPS_TO_CLEAN: tuple[Protocol, ...] = (
    RELEASED,
    replace(RELEASED, name="threshold calibrated", threshold="calibrated"),
    LAST_EPOCH,
    replace(RELEASED, name="no dropout", threshold="calibrated", epoch="last", dropout=False),
    replace(RELEASED, name="shuffled", threshold="calibrated", epoch="last", dropout=False, order="shuffled"),
    CLEAN,
)
"""From RELEASED to CLEAN, one field at a time: with running statistics order and batch size no longer matter."""

CLEAN_BEST_EPOCH = replace(CLEAN, name="clean, best epoch (oracle)", epoch="best by test AUC")
"""CLEAN at the epoch that the test labels choose; its AUC after each epoch is a by-product."""

SINGLE_CHANGES: tuple[Protocol, ...] = (
    replace(RELEASED, name="released, shuffled", order="shuffled"),
    replace(RELEASED, name="released, normals by class", order="normals by class then abnormals"),
    replace(RELEASED, name="released, one at a time, last epoch", batch_size=1, epoch="last"),
    replace(CLEAN, name="clean, statistics recomputed", batch_norm="recomputed"),
    CLEAN_BEST_EPOCH,
    replace(CLEAN, name="clean, oracle φ", threshold="oracle"),
)
"""Single changes to either end, for taking the gap apart."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a detector does on a test set under a protocol.

    Attributes:
        protocol: How the test was fed.
        terms: (K,) each, in the split's own order, whatever the order of feeding.
        calibration: The same for the calibration images; ``None`` where no protocol needs them.
        labels, ids, groups, classes: Those of the split, (K,).
        scores: (K,) float32, Eq. 2.
        threshold: φ.
        epoch: The epoch scored, from 1.
        imposed: Whether the protocol is one that the method's own public code does not use.
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
        """Accuracy, F1 and the others at ``threshold``."""
        return metrics_at(self.scores, self.labels, self.threshold)


def evaluate(
    detector: "Detector", split: AnomalySplit, protocol: Protocol, *, epochs: "EpochScores | None" = None
) -> Evaluation:
    """Test a detector under a protocol; the detector is left as it was.

    Args:
        detector: Fitted.
        split: Images, labels, and the training normals where statistics are recomputed.
        protocol: Such as CLEAN or RELEASED.
        epochs: What `EpochScores` kept during training; needed where the protocol chooses an epoch.

    Raises:
        ValueError: The protocol chooses an epoch and ``epochs`` is missing.
    """
    chooses = protocol.epoch != "last" and detector.scores_each_epoch
    if chooses:
        if epochs is None:
            raise ValueError(
                f"Protocol {protocol.name!r} takes the best epoch by test AUC, and this detector has only its last. "
                "Record the epochs while training: recorder = EpochScores(split, [protocol]); "
                "fit(…, on_epoch_end=recorder); evaluate(…, epochs=recorder)."
            )
        best = epochs.best(protocol)
        terms, calibration, epoch = best.terms, best.calibration, best.epoch
    else:
        terms, calibration = score_split(detector, split, protocol)
        epoch = len(detector.history_)
    scores = anomaly_score(terms, detector.alpha)
    if protocol.threshold == "oracle":
        threshold = oracle_f1(scores, split.test_labels)
    else:
        threshold = normal_quantile(anomaly_score(calibration, detector.alpha), detector.false_alarms_)
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


def differing_fields(a: Protocol, b: Protocol) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two protocols differ, their names aside."""
    fields: Sequence[str] = [name for name in Protocol.__dataclass_fields__ if name != "name"]
    return {name: (getattr(a, name), getattr(b, name)) for name in fields if getattr(a, name) != getattr(b, name)}
