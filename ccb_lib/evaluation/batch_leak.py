"""The class leak of batch statistics: scores as a function of batch size and batch composition."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.metrics import anomaly_score

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector


def mixed_order(labels: NDArray[np.bool_], purity: float, seed: int = 0) -> NDArray[np.intp]:
    """Order a test set: shuffled, normals before abnormals, or a mixture of both.

    Args:
        labels: (K,) bool, True is abnormal.
        purity: 1 puts all normals before all abnormals, so that batches hold one kind; 0 shuffles
            all images; a value between keeps that share of the images in place and shuffles the
            others among themselves.
        seed: Seed of the shuffling.

    Returns:
        (K,) indices of test images, in the order in which they are scored.

    Raises:
        ValueError: A purity outside 0…1.
    """
    if not 0 <= purity <= 1:
        raise ValueError(f"purity={purity} given; a share from 0 to 1 is needed.")
    rows = np.argsort(labels, kind="stable")
    rng = np.random.default_rng(seed)
    moved = rng.permutation(len(rows))[: round((1 - purity) * len(rows))]
    rows[moved] = rows[rng.permutation(moved)]
    return rows


def leak_table(
    detector: "Detector",
    split: AnomalySplit,
    *,
    batch_sizes: Sequence[int] = (1, 4, 16, 64),
    purities: Sequence[float] = (0.0, 0.5, 0.8, 0.9, 1.0),
) -> dict[tuple[float, float], tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Score a test set with batch statistics, for each batch size and each order.

    Args:
        detector: A fitted detector; it is not changed.
        split: The split whose test set is scored. Weights, images and labels are the same in every
            cell; only the batches differ.
        batch_sizes: Numbers of images that share batch statistics.
        purities: Values of ``purity`` for `mixed_order`.

    Returns:
        (batch size, purity) → (scores, labels), in the order of the split; the form that
        `ThresholdExplorer.from_table` takes.
    """
    cells = {}
    for size in batch_sizes:
        for purity in purities:
            rows = mixed_order(split.test_labels, purity)
            terms = detector.score_terms(
                split.test[torch.from_numpy(rows)], batch_norm="batch", batch_size=size
            )
            scores = np.empty(len(rows), dtype=np.float32)
            scores[rows] = anomaly_score(terms, detector.alpha)
            cells[float(size), float(purity)] = (scores, split.test_labels)
    return cells
