"""The gap between reported and clean numbers, step by step, on the same trained networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import CLEAN, LAST_EPOCH, RELEASED
from ccb_lib.metrics import anomaly_score, normal_quantile, oracle_f1
from ccb_lib.reproduction.defaults import default_of
from ccb_lib.reproduction.names import METHOD_OF
from ccb_lib.reproduction.registry import (
    CLASSES,
    NETWORK_METHODS,
    PAPER_TABLES,
    TABLES,
    TRIVIAL_METHODS,
)
from ccb_lib.reproduction.reported import reported
from ccb_lib.reproduction.results import FALSE_ALARMS, measure_of, read_results, scores_of
from ccb_lib.reproduction.store import Result, TestSet
from ccb_lib.reproduction.tables import select

REPORTED, BEST, LAST = "reported", "RELEASED, best epoch", "RELEASED, last epoch"
SAME, ALL = "CLEAN, same images", "CLEAN, all normals"
ORACLE, CALIBRATED = "CLEAN, oracle φ", "CLEAN, calibrated φ"
STEPS = {
    "auc": (REPORTED, BEST, LAST, SAME, ALL),
    "accuracy": (REPORTED, BEST, LAST, ORACLE, CALIBRATED, ALL),
    "f1": (REPORTED, BEST, LAST, ORACLE, CALIBRATED, ALL),
}
"""Steps by measure. Both RELEASED steps use the oracle's φ, the last step the calibrated φ."""

_COLUMNS = (
    *("dataset", "method", "abnormal", "seed", "epochs", "width", "device"),
    *("metric", "step", "value", "key"),
)


def waterfall(
    number: int,
    *,
    metric: str = "auc",
    settings: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Split the gap between the reported number and CLEAN into steps, by network, class and seed.

    Each step changes one thing. First, the epoch with the best test AUC is replaced by the last
    epoch. Second, batch statistics (and dropout, if the method has it) are replaced by `eval()` on
    the same images. Third, for accuracy and F1 only, the oracle's φ is replaced by the calibrated
    φ. Last, the balanced draw of normal images is replaced by all held-out normal images. If
    several balanced draws are stored, all steps that test on them are means over the same draws.

    Args:
        number: Table 1 to 5.
        metric: ``"auc"``, ``"accuracy"`` or ``"f1"``; the last two at a prevalence of 0.5.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the stored results.

    Returns:
        One row per network, class, seed and step of `STEPS`: ``dataset``, ``method``,
        ``abnormal``, ``seed``, ``epochs``, ``width``, ``device``, ``metric``, ``step``, ``value``
        (0…1, higher is better; NaN if it was not reported or not stored) and ``key`` of the run.

    Raises:
        ValueError: There is no such table or measure.

    Example:
        >>> frame = waterfall(4)
        >>> frame.query("method == 'ganomaly' and step == 'reported'")["value"].isna().all()
        np.True_
    """
    if number not in PAPER_TABLES or TABLES[number].chains:
        raise ValueError(
            f"number={number!r} given; Tables 1 to 5 compare methods. Give one of them."
        )
    if metric not in STEPS:
        raise ValueError(f"metric={metric!r} given; one of {', '.join(STEPS)} is needed.")
    runs = select(number, settings, folder=folder)
    runs = runs[~runs["method"].isin(TRIVIAL_METHODS)].drop_duplicates(
        ["method", "abnormal", "seed"]
    )
    results, reported = read_results(number, folder), _reported(number, metric)
    rows = []
    for run in runs.itertuples():
        values = _values(results[run.key], run.abnormal, metric)
        values[REPORTED] = reported.get((run.method, run.abnormal), np.nan)
        about = {name: getattr(run, name) for name in _COLUMNS if hasattr(run, name)}
        about["device"] = run.device.split(",")[0]
        about["width"] = default_of(run.method, "width") if pd.isna(run.width) else int(run.width)
        rows += [
            {**about, "metric": metric, "step": step, "value": values[step]}
            for step in STEPS[metric]
        ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    order = [*NETWORK_METHODS, *sorted(set(frame["method"]) - set(NETWORK_METHODS))]
    return frame.sort_values(
        "method", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def runs_of_rows(rows: pd.DataFrame) -> str:
    """Describe the runs of one network in a waterfall: epochs, width, seeds, classes, device.

    Example:
        >>> frame = waterfall(4)
        >>> runs_of_rows(frame[frame["method"] == "ganomaly"]).startswith("50 epochs, width 64")
        True
    """
    first, seeds = rows.iloc[0], rows["seed"].nunique()
    counts = f"{seeds} seed{'s' * (seeds > 1)}, {classes_of_rows(rows)}"
    return f"{first['epochs']:g} epochs, width {first['width']:g}, {counts}, {first['device']}"


def classes_of_rows(rows: pd.DataFrame) -> str:
    """Count the classes of one network in a waterfall; a single class is named.

    Example:
        >>> frame = waterfall(4)
        >>> classes_of_rows(frame[frame["method"] == "ganomaly"])
        '4 of 4 classes'
    """
    names = rows["abnormal"].unique()
    named = f" ({names[0]})" if len(names) == 1 else ""
    return f"{len(names)} of {len(CLASSES[rows['dataset'].iloc[0]])} classes{named}"


def macro(frame: pd.DataFrame) -> pd.DataFrame:
    """Average a waterfall over classes, then over seeds.

    Args:
        frame: Frame returned by `waterfall`, one measure.

    Returns:
        One row per ``dataset``, ``method`` and ``step``, in order: ``mean`` over seeds of the mean
        over classes (NaN unless every class that was run has the step), ``spread``, the standard
        deviation over seeds (NaN for one), and the numbers of ``seeds`` and ``classes``.

    Example:
        >>> macro(waterfall(4))["classes"].max()
        np.int64(4)
    """
    by = ["dataset", "method", "step"]
    of_seeds = _of_seeds(frame)
    means = of_seeds.groupby(by, sort=False)["value"]
    summary = pd.DataFrame({"mean": means.mean(), "spread": means.std(), "seeds": means.size()})
    classes = frame.groupby(by, sort=False)["abnormal"].nunique()
    return summary.assign(classes=classes).reset_index()


def effects(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the effect of the steps of a waterfall: differences of means over classes.

    Args:
        frame: Frame returned by `waterfall`, one measure.

    Returns:
        One row per ``dataset``, ``method`` and ``effect``: ``"choice of the epoch"`` (best epoch
        by test AUC − last epoch), ``"batch statistics"`` (RELEASED at the last epoch − CLEAN on
        the same images), ``"both"`` (best epoch − CLEAN on the same images), ``"other normals"``
        (same images − all normal images). ``mean``, ``spread`` and ``seeds`` as in `macro`; above
        0 if the first value is higher. For accuracy and F1 φ is the oracle's in the first three
        effects, and ``"threshold"`` (oracle's φ − calibrated φ) is added.

    Example:
        >>> found = effects(waterfall(4)).set_index(["method", "effect"])
        >>> bool(found.loc[("ganomaly", "both"), "mean"] > 0.3)
        True
    """
    same, before_all = (SAME, SAME) if SAME in set(frame["step"]) else (ORACLE, CALIBRATED)
    pairs = {
        "choice of the epoch": (BEST, LAST),
        "batch statistics": (LAST, same),
        "both": (BEST, same),
        **({"threshold": (ORACLE, CALIBRATED)} if same == ORACLE else {}),
        "other normals": (before_all, ALL),
    }
    if frame.empty:
        return pd.DataFrame(columns=["dataset", "method", "effect", "mean", "spread", "seeds"])
    by = ["dataset", "method"]
    wide = _of_seeds(frame).pivot(index=[*by, "seed"], columns="step", values="value")
    parts = []
    for effect, (former, latter) in pairs.items():
        found = (wide[former] - wide[latter]).groupby(by, sort=False)
        part = pd.DataFrame({"mean": found.mean(), "spread": found.std(), "seeds": found.size()})
        parts.append(part.assign(effect=effect).reset_index())
    found, order = pd.concat(parts).set_index(by), pd.MultiIndex.from_frame(frame[by]).unique()
    found = pd.concat([found.loc[[group]] for group in order]).reset_index()
    return found[[*by, "effect", "mean", "spread", "seeds"]]


def _of_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over classes by method, step and seed; NaN if a class is missing."""
    wanted = frame.groupby(["dataset", "method"])["abnormal"].transform("nunique")
    by = ["dataset", "method", "step", "seed"]
    found = frame.assign(wanted=wanted).groupby(by, sort=False)
    means = found["value"].mean().where(found["value"].count() == found["wanted"].max())
    return means.reset_index()


def _reported(number: int, metric: str) -> dict[tuple[str, str], float]:
    """Return the paper's cells of a measure on a table's data, by (method, class)."""
    classes = TABLES[number].classes
    return {
        (METHOD_OF[row], name): float(value)
        for table in PAPER_TABLES
        if TABLES[table].metric == metric and TABLES[table].classes == classes
        for row, line in reported(table).iterrows()
        for name, value in line.items()
    }


def _values(result: Result, abnormal: str, metric: str) -> dict[str, float]:
    """Return the value of each step except the reported one; NaN if it is not stored."""
    values = dict.fromkeys(STEPS[metric], np.nan)
    clean = scores_of(result, abnormal, CLEAN)
    if clean is not None:
        scored, tests = clean
        calibrated = np.nan
        if scored.calibration is not None:
            calibration = anomaly_score(scored.calibration, result.manifest["alpha"])
            calibrated = normal_quantile(calibration, FALSE_ALARMS)
        scores = anomaly_score(scored.test, result.manifest["alpha"])
        values[ALL] = measure_of(metric, scores, tests.labels, calibrated)
        clean = (scores, tests, calibrated)
    drawn = [_of_draw(result, name, clean, metric) for name in draws(result, abnormal)]
    # All steps must be means over the same draws: those with scores of the last epoch, if any.
    drawn = [of_draw for of_draw in drawn if not np.isnan(of_draw[LAST])] or drawn
    for step in drawn[0] if drawn else ():
        values[step] = float(np.mean([of_draw[step] for of_draw in drawn]))
    return values


def draws(result: Result, abnormal: str) -> list[str]:
    """List the names of the balanced draws on which a run was tested under RELEASED.

    The first is such as ``"df|as released"``; the names of further ones (`RELEASED_DRAWS`) begin
    with it.
    """
    first = f"{abnormal}|{RELEASED.test_set}"
    return [name for name in result.sets if name == first or name.startswith(f"{first},")]


def _of_draw(
    result: Result, name: str, clean: tuple[NDArray[np.float32], TestSet, float] | None, metric: str
) -> dict[str, float]:
    """Return the values of the steps that test on one balanced draw."""
    labels = result.sets[name].labels
    values = {step: np.nan for step in STEPS[metric] if step not in (REPORTED, ALL)}
    for step, protocol in ((BEST, RELEASED), (LAST, LAST_EPOCH)):
        found = result.scored.get(f"{name}|{protocol.scores_key}")
        if found is not None:
            scores = anomaly_score(found.test, result.manifest["alpha"])
            values[step] = measure_of(metric, scores, labels, oracle_f1(scores, labels))
    each_epoch = result.aucs.get(f"{name}|{RELEASED.scores_key}")
    if metric == "auc" and np.isnan(values[LAST]) and each_epoch:
        # The AUC after each epoch is stored even where the scores of the last epoch are not.
        values[LAST] = each_epoch[-1]
    if not METHODS[result.manifest["method"]].scores_each_epoch:
        values[LAST] = values[BEST]  # scored after the last epoch only
    if clean is not None:
        scores, tests, calibrated = clean
        rows = rows_in(tests, result.sets[name])
        same, labels = scores[rows], tests.labels[rows]
        thresholds = {SAME: np.nan, ORACLE: oracle_f1(same, labels), CALIBRATED: calibrated}
        for step in thresholds.keys() & values.keys():
            values[step] = measure_of(metric, same, labels, thresholds[step])
    return values


def rows_in(tests: TestSet, drawn: TestSet) -> NDArray[np.intp]:
    """Find the rows of a test set with the images of a subset, matched by id.

    Args:
        tests: The larger set.
        drawn: The subset.

    Returns:
        (K,) rows of ``tests``, in the order of ``drawn``.

    Raises:
        ValueError: An image of ``drawn`` is not in ``tests``.
    """
    place = {name: row for row, name in enumerate(tests.ids.tolist())}
    if missing := [name for name in drawn.ids.tolist() if name not in place]:
        raise ValueError(
            f"{len(missing)} images of one stored test set are not in the other, such as "
            f"{missing[0]}. Both must come "
            "from one split; run the training again."
        )
    return np.array([place[name] for name in drawn.ids.tolist()], dtype=np.intp)
