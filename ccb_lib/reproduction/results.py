"""From stored scores to the paper's tables: nothing here is typed in, and a cell that was not run stays empty."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol
from ccb_lib.metrics import (
    anomaly_score,
    auc,
    average_precision,
    metrics_at,
    normal_quantile,
    oracle_f1,
)
from ccb_lib.reproduction.defaults import non_default
from ccb_lib.reproduction.runs import CLASSES, DATASETS, feeding, is_imposed, kind, store_path
from ccb_lib.reproduction.settings import CHOICES, PAPER, at_settings
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name

FALSE_ALARMS = 0.05


def load_results(
    table: int | str,
    *,
    protocols: Sequence[Protocol] = (CLEAN, RELEASED),
    alphas: Sequence[float | None] = (None,),
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Compute every figure of a table's stored runs.

    Args:
        table: 1 to 7, or a study of `ccb_lib.reproduction.studies`.
        protocols: Those wanted; a run that has no scores under one has no row for it.
        alphas: Weights of the image term in Eq. 2; ``None`` is the method's own.
        folder: Folder of the stored results; ``data/results`` by default.

    Returns:
        One row per run, class, protocol and α: ``dataset``, ``method``, ``chain``, ``abnormal``, ``seed``, ``protocol``,
        ``imposed``, ``alpha``, ``auc``, ``average_precision`` at the set's own prevalence, ``accuracy`` and ``f1``
        weighted to as many normals as abnormal images (the arithmetic of Tables 2–7 says that the paper tested so),
        ``threshold``, ``epoch``, the settings that tables are laid out by, ``other`` settings in words, and ``key``.

    Raises:
        ValueError: No such table, or a broken file.
    """
    if table not in DATASETS:
        raise ValueError(
            f"table={table!r} given; the paper has Tables 1 to 7, and there are the studies."
        )
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
        if result.manifest["dataset"] not in DATASETS[table]:
            continue
        for abnormal in result.manifest["abnormal"]:
            for protocol in protocols:
                found = scores_of(result, abnormal, protocol)
                if found is None:
                    continue
                rows += [_row(result, abnormal, protocol, *found, alpha) for alpha in alphas]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = (
    "dataset", "method", "chain", "abnormal", "seed", "protocol", "imposed", "alpha", "auc", "average_precision",
    "prevalence", "accuracy", "f1", "threshold", "epoch", *CHOICES, "device", "seconds", "key",
)  # fmt: skip


def read_results(table: int | str, folder: str | Path | None = None) -> dict[str, Result]:
    """Return a table's stored runs by key; the file is read once for each of its states."""
    path = store_path(table, folder)
    return _stored(path, _stamp(path))


@lru_cache(maxsize=8)
def _stored(path: Path, stamp: tuple[int, int]) -> dict[str, Result]:
    return Store.read(path).results


def _stamp(path: Path) -> tuple[int, int]:
    """Time and size of a file: they change with what is in it."""
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0)


def scores_of(result: Result, abnormal: str, protocol: Protocol) -> tuple[Scored, TestSet] | None:
    """Return what a run scored for a class under a protocol, or ``None`` if it did not."""
    name = scored_name(abnormal, kind(protocol), feeding(protocol))
    if name not in result.scored:
        return None
    return result.scored[name], result.sets[f"{abnormal}|{kind(protocol)}"]


def threshold_of(scored: Scored, tests: TestSet, protocol: Protocol, alpha: float) -> float:
    """φ as the protocol sets it: the 95 % quantile of calibration scores, or the oracle's best F1 on the test."""
    if protocol.threshold == "oracle":
        return oracle_f1(anomaly_score(scored.test, alpha), tests.labels)
    if scored.calibration is None:
        return float("nan")
    return normal_quantile(anomaly_score(scored.calibration, alpha), FALSE_ALARMS)


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
        "chain": "-".join("none" if n is None else str(n) for n in settings["chain"])
        if "chain" in settings
        else None,
        "abnormal": abnormal,
        "seed": facts["seed"],
        "protocol": protocol.name,
        "imposed": protocol.batch_norm == "batch" and is_imposed(facts["method"], facts["dataset"]),
        "alpha": alpha,
        "auc": auc(scores, tests.labels),
        "average_precision": average_precision(scores, tests.labels),
        "prevalence": float(tests.labels.mean()),
        "accuracy": at_half.accuracy,
        "f1": at_half.f1,
        "threshold": threshold,
        "epoch": scored.epoch,
        **{name: settings.pop(name, None) for name in CHOICES[:-1]},
        "other": _in_words(
            {k: v for k, v in settings.items() if k not in ("chain", "seed", "log_skips")}
        ),
        "device": facts["device"],
        "seconds": facts["seconds"],
        "key": facts["key"],
    }


def _in_words(settings: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in sorted(settings.items())) or None


def placebo(
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] = PAPER,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Score each CIFAR-10 class with the detectors that **trained on it**.

    What a table shows above this is what being unseen adds.

    A detector whose abnormal class was another has the class's own 1,000 test images among its normals. They are held
    against the other eight normal classes' test images.

    Returns:
        One row per method and class: ``placebo``, the mean AUC over those detectors; ``detectors``, how many; ``clean``,
        the AUC of the detector to which the class was unseen (its test images alone, against the same kind of
        normals); and their difference ``unseen adds``.
    """
    rows: list[dict[str, Any]] = []
    wanted = set(
        at_settings(load_results(1, protocols=(protocol,), folder=folder), settings)["key"]
    )
    for result in read_results(1, folder).values():
        if result.manifest["key"] not in wanted:
            continue
        (unseen,) = result.manifest["abnormal"]
        scored, tests = scores_of(result, unseen, protocol) or (None, None)
        if scored is None or tests is None:
            continue
        scores = anomaly_score(scored.test, result.manifest["alpha"])
        official = np.char.startswith(tests.ids, "test/")
        for name in CLASSES["cifar10"]:
            of = (tests.classes == name) & official
            against = ~tests.labels & (tests.classes != name)
            if of.any() and against.any():
                both = of | against
                kind_of = "unseen" if name == unseen else "seen"
                rows.append({"method": result.manifest["method"], "abnormal": name, "kind": kind_of,
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
