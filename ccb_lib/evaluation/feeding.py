"""Scoring a test set under a protocol: order of images, batches, batch-norm statistics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.io.images import to_unit
from ccb_lib.metrics import ScoreTerms
from ccb_lib.models.modes import batch_norms

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector
    from ccb_lib.evaluation.protocols import Protocol

Shared = dict[tuple, ScoreTerms]


def score_split(
    detector: "Detector", split: AnomalySplit, protocol: "Protocol", shared: Shared | None = None
) -> tuple[ScoreTerms, ScoreTerms]:
    """Score test and calibration images under a protocol.

    Args:
        detector: A fitted detector; it is not changed.
        split: The images.
        protocol: Its ``batch_norm``, ``dropout``, ``order`` and ``batch_size`` are used.
        shared: A cache of score terms for several test sets of one run under the same weights; new
            terms are added. It holds those of the calibration images and of the last batches of
            every draw, which contain abnormal images only. They are not scored again, and the
            scores are the same. Start with ``{}`` whenever the weights change.

    Returns:
        The terms of the test images, in the order of the split, and of the calibration images.
    """
    shared = {} if shared is None else shared
    recomputed = (
        recomputed_statistics(detector, split.train)
        if protocol.batch_norm == "recomputed"
        else nullcontext()
    )

    def score(images: Tensor) -> ScoreTerms:
        return detector.score_terms(
            images,
            batch_norm="batch" if protocol.batch_norm == "batch" else "running",
            batch_size=protocol.batch_size,
            dropout=protocol.dropout,
        )

    def score_once(images: Tensor, ids: NDArray[np.str_]) -> ScoreTerms:
        key = (protocol.feeding, ids.tobytes())
        if key not in shared:
            shared[key] = score(images)
        return shared[key]

    with recomputed:
        if protocol.batch_norm == "batch":
            test = _scored_in_batches(score, split, protocol, shared)
        else:  # a score depends on its image alone, so each kind can be scored separately
            test = ScoreTerms(*(np.empty(len(split.test), np.float32) for _ in ScoreTerms._fields))
            for rows in filter(np.any, (~split.test_labels, split.test_labels)):
                scored = score_once(split.test[torch.from_numpy(rows)], split.test_ids[rows])
                for whole, part in zip(test, scored, strict=True):
                    whole[rows] = part
        return test, score_once(split.calibration, split.calibration_ids)


def _scored_in_batches(
    score: Callable[[Tensor], ScoreTerms], split: AnomalySplit, protocol: "Protocol", shared: Shared
) -> ScoreTerms:
    """Score the test set in the protocol's order; read its last batches from ``shared``."""
    order = feeding_order(split, protocol.order)
    test, back = split.test[torch.from_numpy(order)], np.argsort(order)
    if protocol.order != "normals then abnormals":
        return ScoreTerms(*(term[back] for term in score(test)))
    # Batches after the first `head` images hold abnormal images only, so test sets with the same
    # abnormal images share their terms. `head` is part of the key because dropout makes the terms
    # depend on how many batches came before.
    head = -(-int((~split.test_labels).sum()) // protocol.batch_size) * protocol.batch_size
    key = (protocol.feeding, head, split.test_ids[head:].tobytes())
    if key in shared and 0 < head < len(test):
        return ScoreTerms(*map(np.concatenate, zip(score(test[:head]), shared[key], strict=True)))
    fed = score(test)
    shared[key] = ScoreTerms(*(term[head:] for term in fed))
    return fed


def feeding_order(split: AnomalySplit, order: str) -> NDArray[np.intp]:
    """Return the indices of ``split.test`` in the order in which they are scored."""
    rows = np.arange(len(split.test))
    if order == "shuffled":
        return np.random.default_rng(0).permutation(rows)
    if order == "normals by class then abnormals":
        return np.lexsort((rows, split.test_classes, split.test_labels))
    return rows  # a split holds normals in mixed order, then abnormals


@contextmanager
def recomputed_statistics(
    detector: "Detector", normals: Tensor, batch_size: int = 256
) -> Iterator[None]:
    """Recompute running statistics inside the block, and restore the old ones after it.

    The new ones are plain averages over the batches of ``normals`` with the current weights.

    Args:
        detector: A fitted detector.
        normals: (N, C, H, W) uint8.
        batch_size: Images per batch; a smaller last batch is left out unless it is the only one.
    """
    networks: dict[str, nn.Module] = getattr(detector, "networks_", {})
    norms = batch_norms(*networks.values())
    kept = [(m.momentum, [b.clone() for b in m.buffers()]) for m in norms]
    try:
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # PyTorch then takes the plain average over batches
            module.train()
        with torch.no_grad():
            for part in normals.split(batch_size):
                if norms and (len(part) == batch_size or len(normals) < batch_size):
                    detector.terms(to_unit(part.to(detector.device_)))  # type: ignore[attr-defined]
        for module in norms:
            module.eval()
        yield
    finally:
        for module, (momentum, buffers) in zip(norms, kept, strict=True):
            module.momentum = momentum
            module.eval()
            for buffer, old in zip(module.buffers(), buffers, strict=True):
                buffer.copy_(old)
