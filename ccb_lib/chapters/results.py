"""How stored results are shown to readers: tables with gaps named, long frames for figures, sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol
from ccb_lib.metrics import anomaly_score, bootstrap_interval
from ccb_lib.reproduction.names import spoken
from ccb_lib.reproduction.results import (
    CHOICES,
    METRICS,
    PAPER,
    SHOWN_NAMES,
    at_settings,
    compare,
    load_results,
    read_results,
    scores_of,
)
from ccb_lib.reproduction.runs import DATASETS, NETWORK_METHODS, TRIVIAL_METHODS

if TYPE_CHECKING:
    from IPython.display import Markdown
    from pandas.io.formats.style import Styler

NOT_RUN = "not run"
SPOKEN = {"auc": "AUC", "accuracy": "accuracy", "f1": "F1"}


def settings_run(number: int, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the settings under which a table was run, those of the paper first.

    Returns:
        Settings as `at_settings` takes them; ``None`` stands for the default. Where trivial scores alone were run on
        other images, the networks' settings are the paper's.
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)[list(CHOICES)].drop_duplicates()
    found = [
        {name: None if pd.isna(value) else value for name, value in line.items()} for line in frame.to_dict("records")
    ]
    networks = [settings for settings in found if settings["epochs"] is not None]
    seen = [of_images(settings) for settings in (PAPER, *networks)]
    alone = [{**PAPER, **of_images(s)} for s in found if s["epochs"] is None and of_images(s) not in seen]
    return [PAPER, *sorted((s for s in networks if s != PAPER), key=str), *sorted(alone, key=str)]


def of_images(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings that choose images, which is all that scores without a network have."""
    return {name: settings.get(name) for name in ("limit", "image_size", "normal")}


def _only_networks_differ(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings differ from the paper's in what trivial scores do not have, which would only repeat."""
    return {**PAPER, **settings} != PAPER and of_images(settings) == of_images(PAPER)


def described(settings: Mapping[str, Any]) -> str:
    """Say settings in words: what differs from the paper's, after the epochs where networks have them."""
    words = {"limit": "at most {} images of each part", "width": "width {}", "similarity": "Ls as {}",
             "chain_init": "chains from {}", "image_size": "{} px", "normal": "normal: {}", "other": "{}"}  # fmt: skip
    parts = [f"{settings['epochs']:g} epochs"] if "epochs" in settings else []
    for name, text in words.items():
        if settings.get(name) is not None:
            value = settings[name]
            parts.append(text.format(f"{value:g}" if isinstance(value, float) else value))
    return ", ".join(parts)


def side_by_side(
    number: int, *, settings: Mapping[str, Any] = PAPER, missing: bool = True, folder: str | Path | None = None
) -> "Styler":
    """Show printed, released and clean beneath each other, a column a class; * marks a protocol imposed on a method.

    Args:
        number: Table 1 to 7.
        settings: Of the runs.
        missing: Show the print of methods of which nothing was run, too, and name them in the caption.
        folder: Of the results.

    Returns:
        Rows (method or chain, source). A method of which nothing was run has its printed row alone, or none where
        nothing is printed either. Trivial scores stand at the paper's settings and where settings change the images.
    """
    frame = compare(number, settings=settings, folder=folder).rename(index=SHOWN_NAMES, level=0)
    if _only_networks_differ(settings):
        frame = frame.drop(index=list(TRIVIAL_METHODS), level=0, errors="ignore")
    classes = list(frame.index.unique("abnormal"))
    rows, not_run = {}, []
    for name in frame.index.unique(0):
        part = frame.loc[name].reindex(classes)
        run = part[["released", "clean"]].notna().any(axis=None)
        if not run:
            not_run.append(f"{name} blocks" if number >= 6 else name)
        if part["printed"].notna().any() and (run or missing):
            rows[name, "printed"] = part["printed"]
        if run:
            rows[name, "released*" if part["imposed"].any() else "released"] = part["released"]
            rows[name, "clean"] = part["clean"]
    index = pd.MultiIndex.from_tuples(list(rows), names=[None, None])  # names would take a line of their own
    shown = pd.DataFrame(list(rows.values()), index=index, columns=pd.Index(classes, name="abnormal"))
    shown = shown.map(lambda v: NOT_RUN if pd.isna(v) else f"{v:.3f}").rename(columns=spoken)
    style = shown.style.set_table_attributes('class="dataframe"')
    return style.set_caption(f"Not run: {', '.join(not_run)}.") if missing and not_run else style


def long_form(number: int, *, settings: Mapping[str, Any] = PAPER, folder: str | Path | None = None) -> pd.DataFrame:
    """Return `compare` as `grouped_bars` and `chain_lines` take it: one row a cell and source, missing ones as NaN."""
    frame = compare(number, settings=settings, folder=folder)[["printed", "released", "clean"]]
    frame = frame.rename(index=SHOWN_NAMES, level=0).rename_axis(columns="source")
    return frame.stack(future_stack=True).rename("value").reset_index()


def with_intervals(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] = PAPER,
    replicates: int = 500,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Return the AUC of every cell that was run, with its 95 % bootstrap interval over groups (lesions, patients).

    Returns:
        One row a run and class: ``method``, ``chain``, ``abnormal``, ``seed``, ``auc``, ``low``, ``high``.
    """
    frame = at_settings(load_results(number, protocols=(protocol,), folder=folder), settings)
    results = read_results(number, folder)
    rows = []
    for line in frame.itertuples():
        scored, tests = scores_of(results[line.key], line.abnormal, protocol) or (None, None)
        if scored is None or tests is None:
            continue
        scores = anomaly_score(scored.test, line.alpha)
        groups = None if line.dataset == "cifar10" else tests.groups
        interval = bootstrap_interval(scores, tests.labels, groups=groups, replicates=replicates)
        rows.append({"method": line.method, "chain": line.chain, "abnormal": line.abnormal, "seed": line.seed,
                     "auc": interval.estimate, "low": interval.low, "high": interval.high})  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "chain", "abnormal", "seed", "auc", "low", "high"])


def note(number: int) -> "Markdown":
    """Say that nothing was run yet, and how to run it."""
    from IPython.display import Markdown

    return Markdown(f"*Not run yet. `ccb table {number} --run --device cuda --seeds 3` fills these cells.*")


def reading(number: int, *, settings: Mapping[str, Any] = PAPER, folder: str | Path | None = None) -> "Markdown":
    """Say in computed sentences what a table's cells show, or that they are missing."""
    from IPython.display import Markdown

    frame = compare(number, settings=settings, folder=folder)
    printed = frame[frame["printed"].notna()]
    lines = [f"{len(printed)} cells are printed."]
    for name in ("released", "clean"):
        run = printed[printed[name].notna()]
        if run.empty:
            lines.append(f"None of them was run under *{name}* at these settings.")
            continue
        near = int(((run[name] - run["printed"]).abs() <= 0.05).sum())
        measure = SPOKEN[METRICS[number]]
        lines.append(
            f"Under *{name}*, of {len(run)} run, {near} within .05 of the print; their mean {measure} is "
            f"{run[name].mean():.3f} where {run['printed'].mean():.3f} is printed."
        )
    trivial = frame[frame["printed"].isna() & frame["clean"].notna()]
    if len(trivial) and not _only_networks_differ(settings):
        best = trivial["clean"].groupby("abnormal").max()
        lines.append(
            f"The best of the trivial scores, chosen per class afterwards and so an oracle's choice, reaches "
            f"{best.mean():.3f} under *clean* on average."
        )
    return Markdown(" ".join(lines))


def overview(folder: str | Path | None = None) -> pd.DataFrame:
    """Count, for each table, what is printed and what was run at the paper's settings.

    Returns:
        One row a table: ``data``, ``measure``, ``printed cells``; ``released`` and ``clean``, network cells run under
        each; ``trivial``, cells of trivial scores.
    """
    rows = {}
    for number, measure in METRICS.items():
        frame = compare(number, folder=folder)
        networks = frame[frame["printed"].notna()]
        rows[f"Table {number}"] = {
            "data": " and ".join(spoken(dataset) for dataset in DATASETS[number]),
            "measure": SPOKEN[measure],
            "printed cells": len(networks),
            "released": int(networks["released"].notna().sum()),
            "clean": int(networks["clean"].notna().sum()),
            "trivial": int(frame.loc[frame["printed"].isna(), "clean"].notna().sum()),
        }
    return pd.DataFrame(rows).T


def in_short(folder: str | Path | None = None) -> "Markdown":
    """Say in computed sentences what has been learnt so far, from all that is stored, at whatever size."""
    from IPython.display import Markdown

    lines = []
    for number in (1, 4):
        data = " and ".join(spoken(dataset) for dataset in DATASETS[number])
        frame = load_results(number, protocols=(CLEAN, RELEASED), folder=folder)
        trivial = at_settings(frame, PAPER)
        trivial = trivial[trivial["method"].isin(TRIVIAL_METHODS) & (trivial["protocol"] == "clean")]
        if len(trivial):
            macro = trivial.groupby("method")["auc"].agg(["mean", "size"])
            whole = macro[macro["size"] == macro["size"].max()]["mean"].sort_values()
            lines.append(
                f"**{data}, {len(whole)} scores that need no network.** The macro AUC under *clean* goes from "
                f"{whole.iloc[0]:.3f} ({whole.index[0]}) to {whole.iloc[-1]:.3f} ({whole.index[-1]})."
            )
        for settings in settings_run(number, folder=folder):
            part = at_settings(frame, settings)
            for method, rows in part[part["method"].isin(NETWORK_METHODS)].groupby("method"):
                means = rows.pivot_table(index=["abnormal", "seed"], columns="protocol", values="auc").dropna().mean()
                if len(means) == 2:
                    classes = ", ".join(map(spoken, rows["abnormal"].unique()))
                    imposed = ", a test imposed on it," if rows["imposed"].any() else ""
                    lines.append(
                        f"**{data}, {SHOWN_NAMES[method]}, {described(settings)}.** One training, tested twice: a "
                        f"mean AUC of {means['released']:.3f} under *released*{imposed} and {means['clean']:.3f} under "
                        f"*clean* ({classes}; seeds: {rows['seed'].nunique()})."
                    )
    return Markdown("\n".join(f"- {line}" for line in lines) or "*Nothing was run.*")
