"""Scores after each epoch of training, for protocols that choose an epoch by test labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.evaluation.feeding import Shared, score_split
from ccb_lib.evaluation.protocols import Protocol
from ccb_lib.io.tensors import load_tensors, save_tensors
from ccb_lib.metrics import ScoreTerms, anomaly_score, auc

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector


class EpochBest(NamedTuple):
    """The epoch that a protocol chooses, with the score terms after it."""

    epoch: int
    terms: ScoreTerms
    calibration: ScoreTerms


class EpochScores:
    """A callback for ``fit(…, on_epoch_end=…)`` that scores a test set after every epoch.

    A choice by test AUC is an **oracle**. It is here because published numbers were chosen so.

    Args:
        split: The split whose test set is scored.
        protocols: Those that choose an epoch are recorded; others are ignored.
        path: A file for the records, written after each epoch and read if it exists, so that a
            resumed run keeps the records of its earlier epochs.

    Attributes:
        aucs: The test AUC after each epoch, by the protocol's name.

    Example:
        >>> from ccb_lib import GANomaly, RELEASED, load_dataset
        >>> split = load_dataset("digits", abnormal=8)
        >>> recorder, detector = EpochScores(split, [RELEASED]), GANomaly(epochs=2, width=4)
        >>> _ = detector.fit(split.train[:64], on_epoch_end=recorder, progress=False)
        >>> len(recorder.aucs["released"])
        2
    """

    def __init__(
        self, split: AnomalySplit, protocols: Sequence[Protocol], path: str | Path | None = None
    ) -> None:
        self.split = split
        self.protocols = [protocol for protocol in protocols if protocol.epoch != "last"]
        self.path = None if path is None else Path(path)
        self.aucs: dict[str, list[float]] = {protocol.name: [] for protocol in self.protocols}
        self._best: dict[str, EpochBest] = {}
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def __call__(self, detector: "Detector", epoch: int, shared: Shared | None = None) -> None:
        """Score the test set under every protocol; keep the terms of the best epoch so far.

        Args:
            detector: A detector that is ready to score.
            epoch: The epoch's number, from 1.
            shared: Score terms that other test sets share after this epoch; see `score_split`.

        Raises:
            ValueError: Earlier epochs were not recorded, so the best epoch is unknown.
        """
        scored: dict[str, tuple[ScoreTerms, ScoreTerms]] = {}
        for protocol in self.protocols:
            if protocol.feeding not in scored:
                scored[protocol.feeding] = score_split(detector, self.split, protocol, shared)
            terms, calibration = scored[protocol.feeding]
            value = auc(anomaly_score(terms, detector.alpha), self.split.test_labels)
            # A resumed run repeats the epoch in which it was interrupted.
            aucs = self.aucs[protocol.name][: epoch - 1]
            if len(aucs) < epoch - 1:
                raise ValueError(
                    f"Epoch {epoch} of {protocol.name!r} follows {len(aucs)} recorded ones, so the "
                    "best epoch is unknown. Resume with the file that recorded them (path=), "
                    "or train from the start."
                )
            best = self._best.get(protocol.name)
            # A repeated epoch may have another AUC, so its former terms are replaced too, even if
            # an epoch before it was better: the terms of that one are no longer known.
            if best is None or best.epoch >= epoch or value > aucs[best.epoch - 1]:
                self._best[protocol.name] = EpochBest(epoch, terms, calibration)
            self.aucs[protocol.name] = [*aucs, value]
        if self.path is not None:
            self._save(self.path)

    def best(self, protocol: Protocol) -> EpochBest:
        """Return the best epoch of a protocol; the earliest of several equal ones.

        Raises:
            ValueError: The protocol was not recorded.
        """
        if protocol.name not in self._best:
            raise ValueError(
                f"No epochs of {protocol.name!r} were recorded; there are: "
                f"{sorted(self._best) or 'none'}."
            )
        return self._best[protocol.name]

    def _save(self, path: Path) -> None:
        tensors = {}
        for name, best in self._best.items():
            for part, terms in (("test", best.terms), ("calibration", best.calibration)):
                tensors |= {
                    f"{name}/{part}/{term}": torch.from_numpy(getattr(terms, term))
                    for term in terms._fields
                }
        save_tensors(
            path,
            tensors,
            {"aucs": self.aucs, "epochs": {k: b.epoch for k, b in self._best.items()}},
        )

    def _load(self, path: Path) -> None:
        tensors, header = load_tensors(path)
        try:
            for name, epoch in header["epochs"].items():
                if name not in self.aucs:
                    continue
                parts: list[ScoreTerms] = []
                for part in ("test", "calibration"):
                    columns: list[NDArray[np.float32]] = [
                        tensors[f"{name}/{part}/{term}"].numpy() for term in ScoreTerms._fields
                    ]
                    parts.append(ScoreTerms(*columns))
                self._best[name] = EpochBest(int(epoch), *parts)
                self.aucs[name] = [float(auc) for auc in header["aucs"][name]]
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} does not fit together ({error}). Delete it to start again."
            ) from error
