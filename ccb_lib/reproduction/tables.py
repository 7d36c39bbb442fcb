"""The paper's Tables 1 to 7 from stored results, at given settings or each method's fullest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol, is_imposed
from ccb_lib.reproduction.defaults import default_of
from ccb_lib.reproduction.names import METHOD_OF
from ccb_lib.reproduction.registry import NETWORK_METHODS, TABLES, TRIVIAL_METHODS
from ccb_lib.reproduction.reported import reported
from ccb_lib.reproduction.results import load_results
from ccb_lib.reproduction.settings import PAPER, at_settings, fullest_of


def select(
    number: int | str,
    settings: Mapping[str, Any] | None = None,
    *,
    protocols: Sequence[Protocol] = (CLEAN, RELEASED),
    alphas: Sequence[float | None] = (None,),
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Load a table's results and keep the rows at these settings.

    Args:
        number: 1 to 7, or a study.
        settings: For `at_settings`; ``None`` is the fullest setting of each method.
        protocols, alphas, folder: See `load_results`.

    Example:
        >>> sorted(select(4)["protocol"].unique())
        ['clean', 'released']
    """
    frame = load_results(number, protocols=protocols, alphas=alphas, folder=folder)
    if settings is not None:
        return at_settings(frame, settings)
    every = load_results(number, folder=folder)
    chosen = {method: fullest_of(every, method) for method in frame["method"].unique()}
    parts = [
        at_settings(frame[frame["method"] == method], found)
        for method, found in chosen.items()
        if found
    ]
    return pd.concat(parts) if parts else frame.iloc[:0]


def coverage(
    number: int | str,
    *,
    settings: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Describe the runs of each network method that a table shows.

    Args:
        number: 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the stored results.

    Returns:
        One row per method that was run: ``epochs``, ``width``, ``seeds`` (the smallest number of
        any class), ``classes`` (their number), ``device``, ``other`` non-default settings, and
        ``exact``: whether these are the paper's own settings.

    Example:
        >>> bool(coverage(4).loc["ganomaly", "exact"])
        True
    """
    frame = select(number, settings, folder=folder)
    rows = {}
    for method in [
        name
        for name in (*NETWORK_METHODS, *frame["method"].unique())
        if name not in TRIVIAL_METHODS
    ]:
        part = frame[frame["method"] == method]
        if part.empty or method in rows:
            continue
        width = part["width"].iloc[0]
        rows[method] = {
            "epochs": int(part["epochs"].iloc[0]),
            "width": int(default_of(method, "width") if pd.isna(width) else width),
            "seeds": int(part.groupby(["chain", "abnormal"], dropna=False)["seed"].nunique().min()),
            "classes": part["abnormal"].nunique(),
            "device": " and ".join(sorted({device.split(",")[0] for device in part["device"]})),
            "other": part["other"].iloc[0],
            "exact": len(at_settings(part, PAPER)) == len(part),
        }
    columns = ["epochs", "width", "seeds", "classes", "device", "other", "exact"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("method")


def runs_in_words(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> dict[str, str]:
    """Describe the runs of a table as text, by method: epochs, width, seeds, classes, device.

    Example:
        >>> runs_in_words(4)["ganomaly"].startswith("50 epochs, width 64")
        True
    """
    wanted = len(TABLES[number].all_classes)
    words = {}
    for run in coverage(number, settings=settings, folder=folder).itertuples():
        classes = f", {run.classes} of {wanted} classes" if run.classes < wanted else ""
        seeds = f"{run.seeds} seed{'s' * (run.seeds > 1)}"
        other = "" if pd.isna(run.other) else f", {run.other}"
        exact = "; the paper's settings" * run.exact
        words[run.Index] = (
            f"{run.epochs} epochs, width {run.width}, {seeds}{classes}{other}, {run.device}{exact}"
        )
    return words


def table(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] | None = None,
    alpha: float | None = None,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Arrange stored runs as the paper's table.

    Args:
        number: 1 to 7.
        protocol: Protocol of the scores.
        settings: Settings of the runs; by default the fullest setting of each method
            (`fullest_of`).
        alpha: Weight of the image term in Eq. 2; the method's own by default.
        folder: Folder of the stored results.

    Returns:
        Rows as reported (methods, or CCB's chains from shallow to deep), then ``ccb-fork`` (in
        Tables 6–7 with its chain, if it was run) and the trivial scores. Columns (class, ``mean``
        | ``spread`` | ``seeds``): mean over seeds, standard deviation over seeds (NaN for one),
        number of seeds. Cells that were not run are NaN.
    """
    spec = TABLES[number]
    frame = select(number, settings, protocols=(protocol,), alphas=(alpha,), folder=folder)
    row, rows = spec.row, list(spec.methods)
    if spec.chains:
        frame = named_by_chain(frame)
        rows = list(dict.fromkeys([*reported(number).index, *sorted(frame["chain"])]))
    # One training is tested on several classes. A run of one class and a run of several may
    # therefore hold the same result.
    frame = frame.drop_duplicates([row, "abnormal", "seed"])
    seen = (
        frame.groupby([row, "abnormal"])[spec.metric]
        .agg(mean="mean", spread="std", seeds="count")
        .unstack("abnormal")
    )
    seen = seen.swaplevel(axis=1) if len(frame) else seen
    wanted = pd.MultiIndex.from_product(
        [spec.all_classes, ["mean", "spread", "seeds"]], names=["abnormal", ""]
    )
    return seen.reindex(index=rows, columns=wanted).rename_axis(index=row)


def named_by_chain(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the rows of Tables 6–7: CCB by its chain, other methods by method and chain."""
    other = frame["method"] + " " + frame["chain"]
    return frame.assign(chain=frame["chain"].where(frame["method"] == "ccb", other))


def reported_and_measured(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Join reported values with those under RELEASED and CLEAN, with differences.

    Args:
        number: 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method
            (`fullest_of`).
        folder: Folder of the stored results.

    Returns:
        One row per method (or chain) and class: ``reported``, ``released``, ``clean`` (means over
        seeds), ``imposed`` (see `is_imposed`), ``exact`` (measured at the paper's own settings),
        ``released − reported``, ``clean − reported``; NaN where nothing was reported or run.
    """
    spec, paper = TABLES[number], reported(number).rename(index=METHOD_OF)
    row, by_method = spec.row, not spec.chains
    numeric = paper.select_dtypes("number")
    columns = {"reported": numeric.rename_axis(index=row, columns="abnormal").stack()}
    for name, protocol in (("released", RELEASED), ("clean", CLEAN)):
        means = table(number, protocol=protocol, settings=settings, folder=folder).xs(
            "mean", axis=1, level=1
        )
        columns[name] = means.stack(future_stack=True)
    frame = pd.DataFrame(columns)
    order = pd.MultiIndex.from_product(
        [list(means.index), spec.all_classes], names=[row, "abnormal"]
    )
    frame = frame.reindex(order)
    names = frame.index.get_level_values(0)
    first = spec.datasets[0]
    frame["imposed"] = [by_method and is_imposed(METHODS[name], first) for name in names]
    exact = coverage(number, settings=settings, folder=folder)["exact"]
    methods = [
        name if by_method else "ccb" if name in paper.index else name.split()[0] for name in names
    ]
    measured = frame[["released", "clean"]].notna().any(axis=1)
    frame["exact"] = measured & np.array([bool(exact.get(method, False)) for method in methods])
    frame["released − reported"] = frame["released"] - frame["reported"]
    frame["clean − reported"] = frame["clean"] - frame["reported"]
    return frame
