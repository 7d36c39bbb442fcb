"""A table's values under other choices of α (Eq. 2) and φ (Eq. 3), from stored score terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, RELEASED
from ccb_lib.metrics import anomaly_score, min_max
from ccb_lib.reproduction.registry import NETWORK_METHODS, TABLES
from ccb_lib.reproduction.results import measure_of, threshold_of, with_scores
from ccb_lib.reproduction.tables import named_by_chain, select

ALPHAS = (0.0, 0.5, 1.0)
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
    frame = select(number, settings, protocols=(RELEASED, CLEAN), folder=folder)
    metric = TABLES[number].metric
    frame = named_by_chain(frame) if TABLES[number].chains else frame
    frame = frame.drop_duplicates(["method", "chain", "abnormal", "seed", "protocol"])
    order = list(dict.fromkeys([*NETWORK_METHODS, *frame["method"]]))
    frame = frame.sort_values("method", key=lambda names: names.map(order.index), kind="stable")
    protocol_of = {protocol.name: protocol for protocol in (RELEASED, CLEAN)}
    rows = []
    for line, scored, tests, own in with_scores(number, frame, folder=folder):
        labels, values = tests.labels, {}
        if not np.array_equal(scored.test.image, scored.test.latent):
            for alpha in ALPHAS:
                scores = anomaly_score(scored.test, alpha)
                threshold = threshold_of(scored, tests, protocol_of[line.protocol], alpha)
                values[f"α {alpha:g}"] = measure_of(metric, scores, labels, threshold)
        if metric != "auc":
            threshold = min_max(own) if np.ptp(own) > 0 else np.nan
            values["min-max 0.2"] = measure_of(metric, own, labels, threshold)
        about = (line.method, line.chain, line.abnormal, line.seed, line.protocol)
        rows += [(*about, choice, value) for choice, value in values.items()]
    return pd.DataFrame(rows, columns=list(_COLUMNS))
