"""How batch statistics give a class away: AUC as a function of who shares a batch with whom."""

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
    """Order a test set between shuffled and normals-then-abnormals.

    Args:
        labels: (K,) bool, True is abnormal.
        purity: 1 leaves all normals before all abnormals, so that batches are pure; 0 shuffles
            everything; between them that share of the places keeps its own kind, and the rest is
            shuffled among itself.
        seed: Of the shuffling.

    Returns:
        (K,) rows in feeding order.

    Raises:
        ValueError: A purity outside 0…1.
    """
    if not 0 <= purity <= 1:
        raise ValueError(f"purity={purity} given; a share from 0 to 1 is needed.")
    rows = np.argsort(labels, kind="stable")
    rng = np.random.default_rng(seed)
    loose = rng.permutation(len(rows))[: round((1 - purity) * len(rows))]
    rows[loose] = rows[rng.permutation(loose)]
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
        detector: Fitted; left as it was.
        split: Whose test is scored; weights, images and labels are the same in every cell.
        batch_sizes: Images that share their statistics.
        purities: Of `mixed_order`.

    Returns:
        (batch size, purity) → (scores, labels), in the split's own order; as
        `ThresholdExplorer.from_table` takes it.
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
