"""Metrics computed from stored scores, one row per run, class and protocol."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.evaluate import threshold_under
from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol, is_imposed
from ccb_lib.metrics import (
    anomaly_score,
    auc,
    average_precision,
    metrics_at,
)
from ccb_lib.reproduction.contribution import check_manifest
from ccb_lib.reproduction.defaults import non_default
from ccb_lib.reproduction.registry import CLASSES, TABLES
from ccb_lib.reproduction.runs import store_path
from ccb_lib.reproduction.settings import CHOICES, PAPER, at_settings
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name, set_name

FALSE_ALARMS = 0.05


def load_results(
    table: int | str,
    *,
    protocols: Sequence[Protocol] = (CLEAN, RELEASED),
    alphas: Sequence[float | None] = (None,),
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Compute all metrics of a table's stored runs.

    Args:
        table: 1 to 7, or a study of `ccb_lib.reproduction.studies`.
        protocols: The protocols wanted. A run without scores under a protocol has no row for it.
        alphas: Weights of the image term in Eq. 2; ``None`` is the method's own.
        folder: Folder of the stored results; ``data/results`` by default.

    Returns:
        One row per run, class, protocol and α: ``dataset``, ``method``, ``chain``, ``abnormal``,
        ``seed``, ``protocol``, ``imposed``, ``alpha``, ``auc``, ``average_precision`` at the test
        set's own prevalence, ``prevalence``, ``accuracy`` and ``f1`` at a prevalence of 0.5 (by
        the arithmetic of Tables 2–7 the prevalence in the paper), ``threshold``, ``epoch``, the
        settings of `CHOICES`, with ``other`` non-default settings as text, ``device``, ``seconds``
        and ``key``. All metrics are 0…1, higher is better.

    Raises:
        ValueError: There is no such table or study, or the file is damaged.
    """
    path = store_path(table, folder)
    return _frame(table, tuple(protocols), tuple(alphas), path, _stamp(path)).copy()


@lru_cache(maxsize=64)
def _frame(
    table: int | str,
    protocols: tuple[Protocol, ...],
    alphas: tuple[float | None, ...],
    path: Path,
    stamp: tuple[int, int],
) -> pd.DataFrame:
    rows = []
    for result in _stored(path, stamp).values():
        if result.manifest["dataset"] not in TABLES[table].classes:
            continue
        for abnormal in result.manifest["abnormal"]:
            for protocol in protocols:
                found = scores_of(result, abnormal, protocol)
                if found is None:
                    continue
                try:
                    rows += [_row(result, abnormal, protocol, *found, alpha) for alpha in alphas]
                except ValueError as error:
                    raise ValueError(f"{path}: run {result.key}: {error}") from error
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = (
    "dataset", "method", "chain", "abnormal", "seed", "protocol", "imposed", "alpha", "auc",
    "average_precision", "prevalence", "accuracy", "f1", "threshold", "epoch", *CHOICES, "device",
    "seconds", "key",
)  # fmt: skip


def read_results(table: int | str, folder: str | Path | None = None) -> dict[str, Result]:
    """Return a table's stored runs by key; the file is read again only after it changed."""
    path = store_path(table, folder)
    return _stored(path, _stamp(path))


@lru_cache(maxsize=8)
def _stored(path: Path, stamp: tuple[int, int]) -> dict[str, Result]:
    results = Store.read(path).results
    for result in results.values():
        try:
            check_manifest(result.manifest)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return results


def _stamp(path: Path) -> tuple[int, int]:
    """Return modification time and size of a file, as a cache key for its content."""
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0)


def scores_of(result: Result, abnormal: str, protocol: Protocol) -> tuple[Scored, TestSet] | None:
    """Return scores and test set of a class under a protocol; ``None`` if they are not stored."""
    name = scored_name(abnormal, protocol)
    if name not in result.scored:
        return None
    return result.scored[name], result.sets[set_name(name)]


def threshold_of(scored: Scored, tests: TestSet, protocol: Protocol, alpha: float) -> float:
    """Return φ of a protocol: the 95 % quantile of calibration scores, or the best F1 on the test.

    NaN where the protocol calibrates and calibration scores were not stored.
    """
    return threshold_under(
        protocol, scored.test, tests.labels, scored.calibration, alpha, FALSE_ALARMS
    )


def with_scores(
    table: int | str,
    frame: pd.DataFrame,
    protocols: Sequence[Protocol] = (CLEAN, RELEASED),
    folder: str | Path | None = None,
) -> Iterator[tuple[Any, Scored, TestSet, NDArray[np.float32]]]:
    """Yield each row of `load_results` with its score terms, its test set and its scores.

    Args:
        table: 1 to 7, or a study.
        frame: Rows of `load_results`, all or some.
        protocols: The protocols of the rows.
        folder: Folder of the stored results.

    Example:
        >>> frame = load_results(4, protocols=(CLEAN,))
        >>> row, scored, tests, scores = next(with_scores(4, frame))
        >>> auc(scores, tests.labels) == row.auc
        True
    """
    results, named = read_results(table, folder), {each.name: each for each in protocols}
    for row in frame.itertuples():
        if found := scores_of(results[row.key], row.abnormal, named[row.protocol]):
            yield row, *found, anomaly_score(found[0].test, row.alpha)


def measure_of(
    metric: str, scores: NDArray[np.float32], labels: NDArray[np.bool_], threshold: float
) -> float:
    """Return a table's measure, 0…1: the AUC, or accuracy or F1 at a prevalence of 0.5.

    Args:
        metric: ``"auc"``, ``"accuracy"`` or ``"f1"``.
        scores, labels: (K,) each.
        threshold: φ; not used by ``"auc"``. At NaN the other measures are NaN.

    Example:
        >>> measure_of("f1", np.array([1.0, 2.0]), np.array([False, True]), 1.5)
        1.0
    """
    if metric == "auc":
        return auc(scores, labels)
    if np.isnan(threshold):
        return float("nan")
    return float(getattr(metrics_at(scores, labels, threshold, prevalence=0.5), metric))


def _row(
    result: Result,
    abnormal: str,
    protocol: Protocol,
    scored: Scored,
    tests: TestSet,
    alpha: float | None,
) -> dict[str, Any]:
    facts = result.manifest
    alpha = facts["alpha"] if alpha is None else alpha
    scores = anomaly_score(scored.test, alpha)
    threshold = threshold_of(scored, tests, protocol, alpha)
    at_half = metrics_at(scores, tests.labels, threshold, prevalence=0.5)
    settings = non_default(
        facts["method"], {**facts["settings"], **facts["options"], "limit": facts["limit"]}
    )
    own_split = 0 if facts["dataset"] == "cifar10" else facts["seed"]
    if (split_seed := facts["options"].get("seed", own_split)) != own_split:
        settings["split_seed"] = split_seed
    return {
        "dataset": facts["dataset"],
        "method": facts["method"],
        "chain": _chain(settings.get("chain")),
        "abnormal": abnormal,
        "seed": facts["seed"],
        "protocol": protocol.name,
        "imposed": is_imposed(METHODS[facts["method"]], facts["dataset"], protocol),
        "alpha": alpha,
        "auc": auc(scores, tests.labels),
        "average_precision": average_precision(scores, tests.labels),
        "prevalence": float(tests.labels.mean()),
        "accuracy": at_half.accuracy,
        "f1": at_half.f1,
        "threshold": threshold,
        "epoch": scored.epoch,
        **{name: settings.pop(name, None) for name in CHOICES[:-1]},
        "other": ", ".join(
            f"{name} {value}"
            for name, value in sorted(settings.items())
            if name not in ("chain", "seed", "log_skips")
        )
        or None,
        "device": facts["device"],
        "seconds": facts["seconds"],
        "key": facts["key"],
    }


def _chain(lengths: Sequence[int | None] | None) -> str | None:
    """Return the name of a chain, such as ``4-3-2-1``, or ``none-none-none-none`` without skips."""
    if lengths is None:
        return None
    return "-".join("none" if length is None else str(length) for length in lengths)


def placebo(
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] = PAPER,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Compute the AUC of each CIFAR-10 class for the detectors that **trained on it**.

    A class that was among the normal training classes should not be detected. Its 1,000 test
    images are compared with the test images of the other eight normal classes. The amount by which
    the AUC of a table exceeds this placebo is due to the class being unseen.

    Returns:
        One row per method and class: ``placebo``, the mean AUC over those detectors;
        ``detectors``, their number; ``clean``, the AUC of the detector that was not trained on the
        class (official test images only, on both sides); and the difference ``unseen adds``, clean
        − placebo.
    """
    rows: list[dict[str, Any]] = []
    runs = at_settings(load_results(1, protocols=(protocol,), folder=folder), settings)
    for run, _, tests, scores in with_scores(1, runs, (protocol,), folder):
        official = np.char.startswith(tests.ids, "test/")
        for name in CLASSES["cifar10"]:
            of = (tests.classes == name) & official
            against = ~tests.labels & (tests.classes != name)
            if of.any() and against.any():
                both = of | against
                kind_of = "unseen" if name == run.abnormal else "seen"
                rows.append({"method": run.method, "abnormal": name, "kind": kind_of,
                             "auc": auc(scores[both], of[both])})  # fmt: skip
    frame = pd.DataFrame(rows, columns=["method", "abnormal", "kind", "auc"])
    wide = frame.pivot_table(
        index=["method", "abnormal"], columns="kind", values="auc", aggfunc="mean"
    )
    wide = wide.reindex(columns=["seen", "unseen"])
    counts = frame[frame["kind"] == "seen"].groupby(["method", "abnormal"]).size()
    return pd.DataFrame(
        {
            "placebo": wide["seen"],
            "detectors": counts.reindex(wide.index).fillna(0).astype(int),
            "clean": wide["unseen"],
            "unseen adds": wide["unseen"] - wide["seen"],
        }
    )
