"""Comparison of detectors on the same images."""

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from ccb_lib.detectors.base import Detector
from ccb_lib.io.images import as_images
from ccb_lib.metrics import anomaly_score, auc, bootstrap_interval
from ccb_lib.models.ccb import count_parameters


def compare_detectors(
    detectors: Mapping[str, Detector],
    images: Any,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = 1000,
) -> pd.DataFrame:
    """Measure AUC, size and speed of fitted detectors on the same images.

    Args:
        detectors: Fitted detectors by display name.
        images: N normal and abnormal images, in any form that `Detector` lists.
        labels: (N,) bool, True is abnormal.
        groups: (N,) group of each image, such as its patient, for the intervals; by default each
            image is its own group.
        replicates: Number of bootstrap replicates.

    Returns:
        One row per detector: ``parameters``, the number of trainable ones; ``s / epoch``, the
        median training time on the machine that trained it; ``ms / image``, the scoring time on
        this machine; ``AUC`` of its score with the ends ``low`` and ``high`` of its 95 % interval;
        and the AUC of each term of Eq. 2 alone. A value that does not apply is NaN.

    Raises:
        NotReady: A detector was not fitted.
        ValueError: Images of an unsupported form, or labels of one kind only.
    """
    images = as_images(images)
    rows = {}
    for name, detector in detectors.items():
        start = time.perf_counter()
        terms = detector.score_terms(images)
        seconds = time.perf_counter() - start
        interval = bootstrap_interval(
            anomaly_score(terms, detector.alpha), labels, groups=groups, replicates=replicates
        )
        row = {
            "parameters": sum(
                count_parameters(net) for net in getattr(detector, "networks_", {}).values()
            )
            or None,
            "s / epoch": pd.Series(
                [epoch["seconds"] for epoch in detector.history_], dtype=float
            ).median(),
            "ms / image": 1000 * seconds / len(images),
            "AUC": interval.estimate,
            "low": interval.low,
            "high": interval.high,
        }
        if terms.image is not terms.latent:
            row |= {
                "AUC, image term": auc(terms.image, labels),
                "AUC, latent term": auc(terms.latent, labels),
            }
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").astype(float)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Format the table of `compare_detectors` as text, AUC with its interval; NaN as ``–``."""

    def text(name: str, form: str) -> "pd.Series[str]":
        return table[name].map(lambda value: "–" if pd.isna(value) else form.format(value))

    interval = (
        text("AUC", "{:.3f}") + " (" + text("low", "{:.3f}") + " to " + text("high", "{:.3f}") + ")"
    )
    columns = {
        "parameters": text("parameters", "{:,.0f}"),
        "s / epoch": text("s / epoch", "{:.2f}"),
        "ms / image": text("ms / image", "{:.2f}"),
        "AUC, 95 % interval": interval,
        "image term": text("AUC, image term", "{:.3f}"),
        "latent term": text("AUC, latent term", "{:.3f}"),
    }
    return pd.DataFrame(columns).map(lambda cell: cell.replace(" ", "\N{NO-BREAK SPACE}"))
