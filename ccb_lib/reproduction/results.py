"""From stored scores to the paper's tables: nothing here is typed in, and a cell that was not run stays empty."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol
from ccb_lib.metrics import anomaly_score, auc, average_precision, metrics_at, normal_quantile, oracle_f1
from ccb_lib.reproduction.arithmetic import printed
from ccb_lib.reproduction.runs import (
    CLASSES,
    DATASETS,
    NETWORK_METHODS,
    TRIVIAL_METHODS,
    default_of,
    feeding,
    kind,
    store_path,
    unsaid,
)
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, scored_name

METRICS = {1: "auc", 2: "accuracy", 3: "f1", 4: "accuracy", 5: "f1", 6: "accuracy", 7: "f1"}
PRINTED_NAMES = {
    "anogan": "AnoGAN",
    "egbad": "EGBAD",
    "ganomaly": "GANomaly",
    "skip-ganomaly": "SkipGANomaly",
    "ccb": "CCB",
}
SHOWN_NAMES = PRINTED_NAMES | {"ccb-fork": "CCB fork"}  # nothing is printed of the last
FALSE_ALARMS = 0.05
_OF_NETWORKS = ("epochs", "width", "similarity", "chain_init", "other")
CHOICES = ("epochs", "limit", "width", "similarity", "chain_init", "image_size", "normal", "other")
PAPER = {"epochs": 50} | dict.fromkeys(CHOICES[1:])
"""What a run must have had to stand in a table's main cells: the paper's epochs, and every other choice its default."""


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
        folder: Of the stored results; ``data/results`` by default.

    Returns:
        One row a run, class, protocol and α: ``dataset``, ``method``, ``chain``, ``abnormal``, ``seed``, ``protocol``,
        ``imposed``, ``alpha``, ``auc``, ``average_precision`` at the set's own prevalence, ``accuracy`` and ``f1``
        weighted to as many normals as abnormal images (the arithmetic of Tables 2–7 says that the paper tested so),
        ``threshold``, ``epoch``, the settings that tables are laid out by, ``other`` settings in words, and ``key``.

    Raises:
        ValueError: No such table, or a broken file.
    """
    if table not in DATASETS:
        raise ValueError(f"table={table!r} given; the paper has Tables 1 to 7, and there are the studies.")
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
    result: Result, abnormal: str, protocol: Protocol, scored: Scored, tests: TestSet, alpha: float | None
) -> dict[str, Any]:
    facts = result.manifest
    alpha = facts["alpha"] if alpha is None else alpha
    scores = anomaly_score(scored.test, alpha)
    threshold = threshold_of(scored, tests, protocol, alpha)
    at_half = metrics_at(scores, tests.labels, threshold, prevalence=0.5)
    settings = unsaid(facts["method"], {**facts["settings"], **facts["options"], "limit": facts["limit"]})
    own_split = 0 if facts["dataset"] == "cifar10" else facts["seed"]
    if (split_seed := facts["options"].get("seed", own_split)) != own_split:
        settings["split_seed"] = split_seed
    return {
        "dataset": facts["dataset"],
        "method": facts["method"],
        "chain": "-".join("none" if n is None else str(n) for n in settings["chain"]) if "chain" in settings else None,
        "abnormal": abnormal,
        "seed": facts["seed"],
        "protocol": protocol.name,
        "imposed": facts["imposed"] and protocol.batch_norm == "batch",
        "alpha": alpha,
        "auc": auc(scores, tests.labels),
        "average_precision": average_precision(scores, tests.labels),
        "prevalence": float(tests.labels.mean()),
        "accuracy": at_half.accuracy,
        "f1": at_half.f1,
        "threshold": threshold,
        "epoch": scored.epoch,
        **{name: settings.pop(name, None) for name in CHOICES[:-1]},
        "other": _in_words({k: v for k, v in settings.items() if k not in ("chain", "seed", "log_skips")}),
        "device": facts["device"],
        "seconds": facts["seconds"],
        "key": facts["key"],
    }


def _in_words(settings: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in sorted(settings.items())) or None


def at_settings(frame: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the rows whose runs had these settings; trivial scores need not have those of networks.

    Args:
        frame: Of `load_results`.
        settings: Such as ``{"epochs": 50, "limit": None}``.
    """
    trivial = frame["method"].isin(TRIVIAL_METHODS)
    keep = pd.Series(True, index=frame.index)
    for name, value in settings.items():
        goes_unsaid = np.array([value is None or default_of(m, name) == value for m in frame["method"]], dtype=bool)
        same = (frame[name] == value) | (frame[name].isna() & goes_unsaid)
        keep &= same | (trivial if name in _OF_NETWORKS else False)
    return frame[keep]


def table(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] = PAPER,
    alpha: float | None = None,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Lay stored runs out as the paper's table.

    Args:
        number: 1 to 7.
        protocol: Under which.
        settings: What runs must have had; the paper's by default.
        alpha: Of Eq. 2; the method's own by default.
        folder: Of the stored results.

    Returns:
        Rows as printed (methods, or CCB's chains from shallow to deep), then ``ccb-fork`` (in Tables 6–7 with its
        chain, where it was run) and the trivial scores; columns (class, ``mean`` | ``spread`` | ``seeds``): mean over
        seeds, their standard deviation (NaN for one), how many. What was not run is NaN.
    """
    frame = load_results(number, protocols=(protocol,), alphas=(alpha,), folder=folder)
    row = "chain" if number >= 6 else "method"
    frame = at_settings(frame, settings).copy()
    rows = [*NETWORK_METHODS, *TRIVIAL_METHODS]
    if number >= 6:
        frame["chain"] = frame["chain"].where(frame["method"] == "ccb", frame["method"] + " " + frame["chain"])
        rows = list(dict.fromkeys([*printed(number).index, *sorted(frame["chain"])]))
    # One training serves several classes, so a class run by itself and with others is the same run twice.
    frame = frame.drop_duplicates([row, "abnormal", "seed"])
    columns = [name for dataset in DATASETS[number] for name in CLASSES[dataset]]
    seen = (
        frame.groupby([row, "abnormal"])[METRICS[number]]
        .agg(mean="mean", spread="std", seeds="count")
        .unstack("abnormal")
    )
    seen = seen.swaplevel(axis=1) if len(frame) else seen
    wanted = pd.MultiIndex.from_product([columns, ["mean", "spread", "seeds"]], names=["abnormal", ""])
    return seen.reindex(index=rows, columns=wanted).rename_axis(index=row)


def compare(number: int, *, settings: Mapping[str, Any] = PAPER, folder: str | Path | None = None) -> pd.DataFrame:
    """Lay printed, released and clean side by side, with the gaps.

    Returns:
        One row a method (or chain) and class: ``printed``, ``released``, ``clean`` (means over seeds), ``imposed``,
        ``released − printed``, ``clean − printed``; NaN where nothing was printed or run.
    """
    paper = printed(number).rename(index={v: k for k, v in PRINTED_NAMES.items()})
    row = "chain" if number >= 6 else "method"
    numeric = paper.select_dtypes("number")
    columns = {"printed": numeric.rename_axis(index=row, columns="abnormal").stack()}
    for name, protocol in (("released", RELEASED), ("clean", CLEAN)):
        means = table(number, protocol=protocol, settings=settings, folder=folder).xs("mean", axis=1, level=1)
        columns[name] = means.stack(future_stack=True)
    frame = pd.DataFrame(columns)
    order = pd.MultiIndex.from_product(
        [list(means.index), [c for d in DATASETS[number] for c in CLASSES[d]]], names=[row, "abnormal"]
    )
    frame = frame.reindex(order)
    frame["imposed"] = frame.index.get_level_values(0).isin(["egbad", "anogan"])
    frame["released − printed"] = frame["released"] - frame["printed"]
    frame["clean − printed"] = frame["clean"] - frame["printed"]
    return frame


def placebo(
    *, protocol: Protocol = CLEAN, settings: Mapping[str, Any] = PAPER, folder: str | Path | None = None
) -> pd.DataFrame:
    """Score each CIFAR-10 class with the detectors that **trained on it**.

    What a table shows above this is what being unseen adds.

    A detector whose abnormal class was another has the class's own 1,000 test images among its normals. They are held
    against the other eight normal classes' test images.

    Returns:
        One row a method and class: ``placebo``, the mean AUC over those detectors; ``detectors``, how many; ``clean``,
        the AUC of the detector to which the class was unseen (its test images alone, against the same kind of
        normals); and their difference ``unseen adds``.
    """
    rows: list[dict[str, Any]] = []
    wanted = set(at_settings(load_results(1, protocols=(protocol,), folder=folder), settings)["key"])
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
    wide = frame.pivot_table(index=["method", "abnormal"], columns="kind", values="auc", aggfunc="mean")
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
