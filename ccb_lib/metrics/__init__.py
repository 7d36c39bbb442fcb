"""Scores of Eq. 2, thresholds of Eq. 3, metrics, bootstrap intervals and paired tests."""

from ccb_lib.metrics.anomaly_scores import ScoreTerms, all_equal, anomaly_score, distance, error_map
from ccb_lib.metrics.bootstrap import Estimate, bootstrap_interval, paired_difference
from ccb_lib.metrics.checks import checked_pair, checked_prevalence, checked_threshold
from ccb_lib.metrics.confusion import (
    CONFUSION_METRICS,
    Metrics,
    confusion,
    confusion_metrics,
    metrics_at,
    shown,
)
from ccb_lib.metrics.counts import ThresholdCounts, alarms, between, count_at_thresholds, rising
from ccb_lib.metrics.oracle_thresholds import (
    RULES,
    Rule,
    min_max,
    oracle_accuracy,
    oracle_f1,
    oracle_youden,
    place_all,
)
from ccb_lib.metrics.paired import Difference, Pair, holm, paired_differences, verdict
from ccb_lib.metrics.ranking import auc, average_precision, sensitivity_at_specificity
from ccb_lib.metrics.replicates import BOOTSTRAP_METRICS
from ccb_lib.metrics.shift import Shift, ShiftWarning, compare_with_calibration, warn_of_shift
from ccb_lib.metrics.thresholds import (
    conformal_p_values,
    conformal_threshold,
    false_alarm_range,
    false_alarm_rates,
    normal_quantile,
)

__all__ = [
    "BOOTSTRAP_METRICS",
    "CONFUSION_METRICS",
    "RULES",
    "Difference",
    "Estimate",
    "Metrics",
    "Pair",
    "Rule",
    "ScoreTerms",
    "Shift",
    "ShiftWarning",
    "ThresholdCounts",
    "alarms",
    "all_equal",
    "anomaly_score",
    "auc",
    "average_precision",
    "between",
    "bootstrap_interval",
    "checked_pair",
    "checked_prevalence",
    "checked_threshold",
    "compare_with_calibration",
    "conformal_p_values",
    "conformal_threshold",
    "confusion",
    "confusion_metrics",
    "count_at_thresholds",
    "distance",
    "error_map",
    "false_alarm_range",
    "false_alarm_rates",
    "holm",
    "metrics_at",
    "min_max",
    "normal_quantile",
    "oracle_accuracy",
    "oracle_f1",
    "oracle_youden",
    "paired_difference",
    "paired_differences",
    "place_all",
    "rising",
    "sensitivity_at_specificity",
    "shown",
    "verdict",
    "warn_of_shift",
]
