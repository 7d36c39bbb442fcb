"""Eq. 2 scores, Eq. 3 thresholds, ranking and confusion metrics, bootstrap intervals and paired tests."""

from ccb_lib.metrics.bootstrap import METRICS, Interval, bootstrap_interval, paired_difference
from ccb_lib.metrics.checks import checked_pair, checked_prevalence, checked_threshold
from ccb_lib.metrics.confusion import RATES, Metrics, confusion, metrics_at, rates, shown
from ccb_lib.metrics.counts import Cuts, alarms, all_cuts, between
from ccb_lib.metrics.paired import Difference, Pair, holm, paired_differences, verdict
from ccb_lib.metrics.ranking import auc, average_precision, sensitivity_at_specificity
from ccb_lib.metrics.scores import ScoreTerms, all_equal, anomaly_score, distance, error_map
from ccb_lib.metrics.shift import Shift, ShiftWarning, compare_with_calibration, warn_of_shift
from ccb_lib.metrics.thresholds import (
    RULES,
    Rule,
    conformal_p_values,
    conformal_threshold,
    false_alarm_rates,
    min_max,
    normal_quantile,
    oracle_accuracy,
    oracle_f1,
    oracle_youden,
    place_all,
)

__all__ = [
    "METRICS",
    "RATES",
    "RULES",
    "Cuts",
    "Difference",
    "Interval",
    "Metrics",
    "Pair",
    "Rule",
    "ScoreTerms",
    "Shift",
    "ShiftWarning",
    "alarms",
    "all_cuts",
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
    "distance",
    "error_map",
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
    "rates",
    "sensitivity_at_specificity",
    "shown",
    "verdict",
    "warn_of_shift",
]
