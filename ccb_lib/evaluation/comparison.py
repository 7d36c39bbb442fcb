"""Detectors side by side on the same images."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ccb_lib.detectors.base import Detector
from ccb_lib.io.images import as_images
from ccb_lib.metrics import anomaly_score, auc, bootstrap_interval
from ccb_lib.models.ccb import count_parameters

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def compare_detectors(
    detectors: Mapping[str, Detector],
    images: Any,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = 1000,
) -> "DataFrame":
    """Rate fitted detectors on the same images.

    Args:
        detectors: By the name to show.
        images: N images of both kinds, as every detector takes them.
        labels: (N,) bool, True is abnormal.
        groups: (N,) what belongs together, for the intervals; by default each image for itself.
        replicates: Of the bootstrap.

    Returns:
        One line a detector: ``parameters`` that learn; ``s / epoch`` of its training, on the machine that trained it;
        ``ms / image`` of scoring, measured here; ``AUC`` of its score with the ends ``low`` and ``high`` of its 95 %
        interval; and the AUC of either term of Eq. 2 alone. What a detector has not is NaN.

    Raises:
        NotReady: A detector was not fitted.
        ValueError: Images of a wrong form, or labels of one kind alone.
    """
    import pandas as pd

    images = as_images(images)
    lines = {}
    for name, detector in detectors.items():
        begun = time.perf_counter()
        terms = detector.score_terms(images)
        seconds = time.perf_counter() - begun
        interval = bootstrap_interval(
            anomaly_score(terms, detector.alpha), labels, groups=groups, replicates=replicates
        )
        line = {
            "parameters": sum(count_parameters(net) for net in getattr(detector, "networks_", {}).values()) or None,
            "s / epoch": pd.Series([epoch["seconds"] for epoch in detector.history_], dtype=float).median(),
            "ms / image": 1000 * seconds / len(images),
            "AUC": interval.estimate,
            "low": interval.low,
            "high": interval.high,
        }
        if terms.image is not terms.latent:
            line |= {"AUC, image term": auc(terms.image, labels), "AUC, latent term": auc(terms.latent, labels)}
        lines[name] = line
    return pd.DataFrame.from_dict(lines, orient="index").astype(float)


def readable(table: "DataFrame") -> "DataFrame":
    """Write the table of `compare_detectors` as text, AUC with its interval; ``–`` for what is missing."""
    import pandas as pd

    def text(name: str, form: str) -> "Series[str]":
        return table[name].map(lambda value: "–" if pd.isna(value) else form.format(value))

    interval = text("AUC", "{:.3f}") + " (" + text("low", "{:.3f}") + " to " + text("high", "{:.3f}") + ")"
    columns = {
        "parameters": text("parameters", "{:,.0f}"),
        "s / epoch": text("s / epoch", "{:.2f}"),
        "ms / image": text("ms / image", "{:.2f}"),
        "AUC, 95 % interval": interval,
        "image term": text("AUC, image term", "{:.3f}"),
        "latent term": text("AUC, latent term", "{:.3f}"),
    }
    return pd.DataFrame(columns).map(lambda cell: cell.replace(" ", "\N{NO-BREAK SPACE}"))
