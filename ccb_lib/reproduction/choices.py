"""A table's values under other choices of α (Eq. 2) and φ (Eq. 3), from stored score terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, RELEASED
from ccb_lib.metrics import anomaly_score, auc, metrics_at, min_max
from ccb_lib.reproduction.results import load_results, read_results, scores_of, threshold_of
from ccb_lib.reproduction.runs import NETWORK_METHODS
from ccb_lib.reproduction.tables import TABLE_METRICS, named_by_chain, select

ALPHAS = (0.0, 0.5, 1.0)
CUT = 0.2
_COLUMNS = ("method", "chain", "abnormal", "seed", "protocol", "choice", "value")


def alternatives(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Compute a table's measure for α = 0, 0.5 and 1, and with φ at 0.2 after min-max scaling.

    Args:
        number: 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method
            (`fullest_of`).
        folder: Folder of the stored results.

    Returns:
        One row per run, class, protocol and choice: ``method``, ``chain``, ``abnormal``, ``seed``,
        ``protocol``, ``choice`` and ``value``, 0…1, higher is better. RELEASED uses the epoch that
        was selected at the method's own α. φ is set as the protocol defines it (the oracle's under
        RELEASED), except where ``choice`` is ``"min-max 0.2"``. A score whose two terms are
        identical has no rows for α.

    Example:
        >>> set(alternatives(4).query("method == 'pca'")["choice"])
        {'min-max 0.2'}
    """
    protocols = (RELEASED, CLEAN)
    frame = select(
        number, load_results(number, protocols=protocols, folder=folder), settings, folder
    )
    frame = named_by_chain(frame) if number >= 6 else frame
    frame = frame.drop_duplicates(["method", "chain", "abnormal", "seed", "protocol"])
    order = {
        name: place
        for place, name in enumerate([*NETWORK_METHODS, *frame["method"].unique()][::-1])
    }
    frame = frame.sort_values("method", key=lambda names: -names.map(order), kind="stable")
    results = read_results(number, folder)
    named = {protocol.name: protocol for protocol in protocols}
    rows = []
    for line in frame.itertuples():
        protocol = named[line.protocol]
        found = scores_of(results[line.key], line.abnormal, protocol)
        if found is None:
            continue
        scored, tests = found
        labels, values = tests.labels, {}
        if not np.array_equal(scored.test.image, scored.test.latent):
            for alpha in ALPHAS:
                scores = anomaly_score(scored.test, alpha)
                threshold = threshold_of(scored, tests, protocol, alpha)
                values[f"α {alpha:g}"] = _measure(number, scores, labels, threshold)
        if TABLE_METRICS[number] != "auc":
            scores = anomaly_score(scored.test, line.alpha)
            threshold = min_max(scores, CUT) if np.ptp(scores) > 0 else np.nan
            values[f"min-max {CUT:g}"] = _measure(number, scores, labels, threshold)
        about = (line.method, line.chain, line.abnormal, line.seed, line.protocol)
        rows += [(*about, choice, value) for choice, value in values.items()]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _measure(number: int, scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    if TABLE_METRICS[number] == "auc":
        return auc(scores, labels)
    if np.isnan(threshold):
        return float("nan")
    return float(
        getattr(metrics_at(scores, labels, threshold, prevalence=0.5), TABLE_METRICS[number])
    )
