"""Claims of the paper that none of its tables tests, computed from stored scores."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ccb_lib.evaluation.protocols import CLEAN, CLEAN_BEST_EPOCH, RELEASED
from ccb_lib.metrics import auc
from ccb_lib.reproduction.registry import TRIVIAL_METHODS
from ccb_lib.reproduction.results import load_results, read_results, with_scores
from ccb_lib.reproduction.runs import results_folder
from ccb_lib.reproduction.settings import CHOICES
from ccb_lib.reproduction.store import scored_name
from ccb_lib.reproduction.tables import select

SIMILAR = {"bird": "airplane", "airplane": "bird", "dog": "cat", "cat": "dog"}
"""Abnormal classes and the similar normal class of each, as the paper names them."""

AREAS = "ham10000_lesion_areas.csv"


def stability(number: int | str, *, folder: str | Path | None = None) -> pd.DataFrame:
    """Measure the stability of training: over seeds, over epochs, and by mode collapse.

    Args:
        number: A table, 1 to 7, or a study of `STUDIES`.
        folder: Folder of the stored results.

    Returns:
        One row per data set, network method, chain and setting: ``seeds``, their number; ``AUC``
        under CLEAN, the mean over classes and seeds; ``over seeds``, the standard deviation of the
        mean over classes (NaN for one seed); ``over epochs, released`` and ``over epochs, clean``,
        the mean absolute change of the test AUC from one epoch to the next (NaN where it was not
        recorded); ``runs``, their number; ``collapsed``, the number of runs with a warning of mode
        collapse.

    Example:
        >>> found = stability(4)
        >>> found[found["method"] == "ganomaly"]["collapsed"].item()
        0
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    frame = frame[~frame["method"].isin(TRIVIAL_METHODS)]
    results = read_results(number, folder)
    by = ["dataset", "method", "chain", *CHOICES]
    rows = []
    for names, part in frame.groupby(by, dropna=False, sort=False):
        wide = part.pivot_table(index="seed", columns="abnormal", values="auc")
        means = wide.mean(axis=1, skipna=False).dropna()
        runs = [results[key] for key in part["key"].unique()]
        rows.append(
            {
                **dict(zip(by, names, strict=True)),
                "seeds": len(means),
                "AUC": means.mean(),
                "over seeds": means.std(),
                "over epochs, released": _jitter(runs, RELEASED),
                "over epochs, clean": _jitter(runs, CLEAN_BEST_EPOCH),
                "runs": len(runs),
                "collapsed": sum(bool(run.manifest["warnings"]) for run in runs),
            }
        )
    columns = ["seeds", "AUC", "over seeds", "over epochs, released", "over epochs, clean"]
    columns += ["runs", "collapsed"]
    return pd.DataFrame(rows, columns=[*by, *columns])


def _jitter(runs: list[Any], protocol: Any) -> float:
    """Return the mean absolute change of the test AUC between epochs, where it was recorded."""
    changes = [
        abs(after - before)
        for run in runs
        for name in run.manifest["abnormal"]
        for before, after in pairwise(run.aucs.get(scored_name(name, protocol), []))
    ]
    return float(np.mean(changes)) if changes else float("nan")


def by_normal_class(
    number: int = 1, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Compute the AUC of each abnormal class against one normal class at a time, under CLEAN.

    If an abnormal class is hard to detect because it resembles a normal class, its AUC against
    that class is closer to 0.5 than its AUC against the others.

    Args:
        number: A table whose normal images have classes: 1, 4 or 5.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the stored results.

    Returns:
        One row per ``method``, ``seed``, ``abnormal`` class and ``normal`` class, with ``auc``
        (0…1), ``similar`` (whether the paper names this pair) and ``key`` of the run.

    Example:
        >>> found = by_normal_class(1)
        >>> sorted(found.query("abnormal == 'bird' and similar")["normal"].unique())
        ['airplane']
    """
    frame = select(number, settings, protocols=(CLEAN,), folder=folder)
    frame = frame.drop_duplicates(["method", "chain", "abnormal", "seed"])
    rows = []
    for line, _, tests, scores in with_scores(number, frame, folder=folder):
        for normal in sorted(set(tests.classes[~tests.labels].tolist())):
            chosen = tests.labels | (tests.classes == normal)
            similar = SIMILAR.get(line.abnormal) == normal
            value = auc(scores[chosen], tests.labels[chosen])
            rows.append((line.method, line.seed, line.abnormal, normal, value, similar, line.key))
    return pd.DataFrame(
        rows, columns=["method", "seed", "abnormal", "normal", "auc", "similar", "key"]
    )


def similar_against_others(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare the AUC against the similar normal class with those against the others.

    Args:
        frame: Frame returned by `by_normal_class`.

    Returns:
        One row per method and abnormal class that the paper names: ``similar`` (the normal class),
        ``against it``, ``against the others`` (the mean of eight), ``rank`` (1 where no normal
        class has a lower AUC; mean over seeds) and ``seeds``.

    Example:
        >>> bool((similar_against_others(by_normal_class(1))["rank"] >= 1).all())
        True
    """
    frame = frame.assign(
        rank=frame.groupby(["method", "seed", "abnormal"])["auc"].rank(method="min")
    )
    rows = {}
    for (method, abnormal), part in frame[frame["abnormal"].isin(SIMILAR)].groupby(
        ["method", "abnormal"], sort=False
    ):
        pair, others = part[part["similar"]], part[~part["similar"]]
        rows[method, abnormal] = {
            "similar": SIMILAR[abnormal],
            "against it": pair["auc"].mean(),
            "against the others": others["auc"].mean(),
            "rank": pair["rank"].mean(),
            "seeds": part["seed"].nunique(),
        }
    columns = ["similar", "against it", "against the others", "rank", "seeds"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def lesion_areas(folder: str | Path | None = None) -> pd.Series:
    """Read the share of each HAM10000 image that its lesion covers.

    The file is written by ``data/scripts/lesion_areas.py``.

    Args:
        folder: Folder of the stored results.

    Returns:
        float64 by image id, 0…1 of the centred square that detectors are given; empty where the
        file is missing.

    Example:
        >>> bool(0 < lesion_areas()["ISIC_0024306"] < 1)
        True
    """
    path = Path(folder or results_folder()) / AREAS
    if not path.is_file():
        return pd.Series(dtype=float, name="area")
    return pd.read_csv(path, index_col="image")["area"]


def score_by_area(
    number: int = 4, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Correlate the scores of abnormal images with the size of their lesions, under CLEAN.

    If lesions are missed because they are small, scores increase with the area: Spearman's
    correlation is above 0, and the AUC of the largest third is above that of the smallest.

    Args:
        number: 4 or 5.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the stored results.

    Returns:
        One row per ``method``, ``seed`` and ``abnormal`` class: ``images``, the number with a
        known area; ``median area``; ``spearman``, the correlation of score and area among abnormal
        images; ``smallest third`` and ``largest third``, their AUC against all held-out normal
        images.

    Raises:
        ValueError: The file of areas is missing.

    Example:
        >>> score_by_area(4)["spearman"].between(-1, 1).all()
        np.True_
    """
    areas = lesion_areas(folder)
    if areas.empty:
        raise ValueError(
            f"There is no {AREAS} in the folder of results. Write it with "
            "`python data/scripts/lesion_areas.py MASKS FILE`."
        )
    frame = select(number, settings, protocols=(CLEAN,), folder=folder)
    frame = frame.drop_duplicates(["method", "abnormal", "seed"])
    rows = []
    for line, _, tests, scores in with_scores(number, frame, folder=folder):
        area = areas.reindex(tests.ids).to_numpy()
        known = tests.labels & ~np.isnan(area)
        if not known.any():
            continue
        low, high = np.quantile(area[known], [1 / 3, 2 / 3])
        small, large = known & (area <= low), known & (area >= high)
        rows.append(
            {
                "method": line.method,
                "seed": line.seed,
                "abnormal": line.abnormal,
                "images": int(known.sum()),
                "median area": float(np.median(area[known])),
                "spearman": float(spearmanr(scores[known], area[known]).statistic),
                "smallest third": _against_normals(scores, tests.labels, small),
                "largest third": _against_normals(scores, tests.labels, large),
            }
        )
    columns = ["method", "seed", "abnormal", "images", "median area", "spearman"]
    columns += ["smallest third", "largest third"]
    return pd.DataFrame(rows, columns=columns)


def _against_normals(scores: np.ndarray, labels: np.ndarray, abnormal: np.ndarray) -> float:
    chosen = ~labels | abnormal
    return auc(scores[chosen], labels[chosen])
