"""Unsupervised anomaly detection in images: the CCB adversarial autoencoder and its baselines.

Everything public is imported on first use, so ``import ccb_lib`` costs torch and numpy alone:

>>> from ccb_lib import CCB, load_dataset
>>> split = load_dataset("digits", abnormal=8)
>>> detector = CCB(epochs=1, width=4).fit(split.train, calibration=split.calibration, progress=False)
>>> scores = detector.decision_function(split.test)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccb_lib.arithmetic_plots import attainable_counts, operating_points, prevalence_intervals
    from ccb_lib.datasets import AnomalySplit, load_dataset
    from ccb_lib.detectors.base import load_detector
    from ccb_lib.detectors.ccb import CCB
    from ccb_lib.paper import (
        attainable,
        common_prevalence,
        possible_prevalence,
        printed,
        printed_pairs,
        rates,
        true_positive_share,
    )
    from ccb_lib.score_plots import auc_per_epoch, roc_bundle, score_histogram
    from ccb_lib.scores import ScoreTerms
    from ccb_lib.table_plots import chain_lines, grouped_bars

__version__ = "0.1.0"

_HOME_OF = {
    "AnomalySplit": "ccb_lib.datasets",
    "load_dataset": "ccb_lib.datasets",
    "load_detector": "ccb_lib.detectors.base",
    "CCB": "ccb_lib.detectors.ccb",
    "ScoreTerms": "ccb_lib.scores",
    "attainable": "ccb_lib.paper",
    "common_prevalence": "ccb_lib.paper",
    "possible_prevalence": "ccb_lib.paper",
    "printed": "ccb_lib.paper",
    "printed_pairs": "ccb_lib.paper",
    "rates": "ccb_lib.paper",
    "true_positive_share": "ccb_lib.paper",
    "chain_lines": "ccb_lib.table_plots",
    "grouped_bars": "ccb_lib.table_plots",
    "auc_per_epoch": "ccb_lib.score_plots",
    "roc_bundle": "ccb_lib.score_plots",
    "score_histogram": "ccb_lib.score_plots",
    "attainable_counts": "ccb_lib.arithmetic_plots",
    "operating_points": "ccb_lib.arithmetic_plots",
    "prevalence_intervals": "ccb_lib.arithmetic_plots",
}

__all__ = [
    "CCB",
    "AnomalySplit",
    "ScoreTerms",
    "__version__",
    "attainable",
    "attainable_counts",
    "auc_per_epoch",
    "chain_lines",
    "common_prevalence",
    "grouped_bars",
    "load_dataset",
    "load_detector",
    "operating_points",
    "possible_prevalence",
    "prevalence_intervals",
    "printed",
    "printed_pairs",
    "rates",
    "roc_bundle",
    "score_histogram",
    "true_positive_share",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ccb_lib' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, those not yet imported included."""
    return sorted(set(globals()) | set(__all__))
