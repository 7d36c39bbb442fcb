"""How stored results are shown to readers: tables with captions, long frames for figures, sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN, Protocol
from ccb_lib.metrics import anomaly_score, bootstrap_interval
from ccb_lib.reproduction.choices import alternatives
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.results import load_results, read_results, scores_of
from ccb_lib.reproduction.runs import DATASETS, TRIVIAL_METHODS
from ccb_lib.reproduction.settings import CHOICES, PAPER, at_settings, of_images
from ccb_lib.reproduction.tables import SHOWN_NAMES, TABLE_METRICS, reported_and_measured, runs_in_words, select

if TYPE_CHECKING:
    from IPython.display import Markdown
    from pandas.io.formats.style import Styler

NOT_RUN = "not run"
SPOKEN = {"auc": "AUC", "accuracy": "accuracy", "f1": "F1"}
COPIES = {"ham10000": "Images: a copy of 200×150 pixels each; the source has 600×450."}
"""What captions say of the images that the stored runs used, where they are not the source's own."""


def settings_run(number: int, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the settings under which a table was run, those of the paper first.

    Returns:
        Settings as `at_settings` takes them; ``None`` stands for the default. Where trivial scores alone were run on
        other images, ``epochs`` is ``None``: they have none.
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)[list(CHOICES)].drop_duplicates()
    found = [
        {name: None if pd.isna(value) else value for name, value in line.items()} for line in frame.to_dict("records")
    ]
    networks = [settings for settings in found if settings["epochs"] is not None]
    seen = [of_images(settings) for settings in (PAPER, *networks)]
    alone = [settings for settings in found if settings["epochs"] is None and of_images(settings) not in seen]
    return [PAPER, *sorted((s for s in networks if s != PAPER), key=str), *sorted(alone, key=str)]


def other_settings(number: int, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the settings of runs that a table at its default, the fullest of each method, does not show."""
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    shown = set(select(number, frame, None, folder)["key"])
    several = settings_run(number, folder=folder)
    return [s for s in several if not set(_new_at(frame, s)["key"]) <= shown]


def _new_at(frame: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Rows at these settings, those of trivial scores only where settings change the images."""
    rows = at_settings(frame, settings)
    return rows[~rows["method"].isin(TRIVIAL_METHODS)] if of_images(settings) == of_images(PAPER) else rows


def _only_networks_differ(settings: Mapping[str, Any] | None) -> bool:
    """Tell whether settings differ from the paper's in what trivial scores do not have, which would only repeat."""
    return settings is not None and {**PAPER, **settings} != PAPER and of_images(settings) == of_images(PAPER)


def runs_caption(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> "Markdown":
    """Name the runs of networks behind a figure, as the captions of tables do.

    Example:
        >>> "GANomaly: 50 epochs" in runs_caption(4).data
        True
    """
    from IPython.display import Markdown

    return Markdown(f"*{_caption(number, settings, [], False, folder) or 'No network was run.'}*")


def reported_released_clean(
    number: int,
    *,
    settings: Mapping[str, Any] | None = None,
    missing: bool = True,
    folder: str | Path | None = None,
) -> "Styler":
    """Show reported, released and clean beneath each other, a column a class.

    Args:
        number: Table 1 to 7.
        settings: Of the runs; by default the fullest setting of each method.
        missing: Show the reported row of methods of which nothing was run, too, and name them in the caption.
        folder: Of the results.

    Returns:
        Rows (method or chain, source); * marks a protocol imposed on a method (`is_imposed`), bold what was measured
        at the paper's own settings. The caption names the runs of each method, and what was not run. A method of which
        nothing was run has its reported row alone. Trivial scores stand where settings change the images.
    """
    frame = reported_and_measured(number, settings=settings, folder=folder).rename(index=SHOWN_NAMES, level=0)
    if _only_networks_differ(settings):
        frame = frame.drop(index=list(TRIVIAL_METHODS), level=0, errors="ignore")
    classes = list(frame.index.unique("abnormal"))
    rows, not_run, exact = {}, [], set()
    for name in frame.index.unique(0):
        part = frame.loc[name].reindex(classes)
        run = part[["released", "clean"]].notna().any(axis=None)
        if not run:
            not_run.append(f"{name} blocks" if number >= 6 else name)
        if part["reported"].notna().any() and (run or missing):
            rows[name, "reported"] = part["reported"]
        if run:
            released = "released*" if part["imposed"].any() else "released"
            rows[name, released], rows[name, "clean"] = part["released"], part["clean"]
            exact |= {(name, released), (name, "clean")} if part["exact"].any() else set()
    index = pd.MultiIndex.from_tuples(list(rows), names=[None, None])  # names would take a line of their own
    shown = pd.DataFrame(list(rows.values()), index=index, columns=pd.Index(classes, name="abnormal"))
    shown = shown.map(lambda v: NOT_RUN if pd.isna(v) else f"{v:.3f}").rename(columns=display_name)
    style = shown.style.set_table_attributes('class="dataframe"')
    style = style.apply(lambda row: ["font-weight: bold" if row.name in exact else ""] * len(row), axis=1)
    caption = _caption(number, settings, not_run if missing else [], bool(exact), folder)
    return style.set_caption(caption) if caption else style


def _caption(
    number: int, settings: Mapping[str, Any] | None, not_run: list[str], bold: bool, folder: str | Path | None
) -> str:
    words = runs_in_words(number, settings=settings, folder=folder)
    parts = [f"{SHOWN_NAMES.get(method, method)}: {said}." for method, said in words.items()]
    if bold:
        parts.append("Bold: measured at the paper's settings.")
    if words:
        parts += [COPIES[name] for name in DATASETS[number] if name in COPIES]
    if not_run:
        parts.append(f"Not run: {', '.join(not_run)}.")
    return " ".join(parts)


def long_form(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Return one row a cell and source, as `grouped_bars` and `chain_lines` take it; missing is NaN."""
    frame = reported_and_measured(number, settings=settings, folder=folder)[["reported", "released", "clean"]]
    frame = frame.rename(index=SHOWN_NAMES, level=0).rename_axis(columns="source")
    return frame.stack(future_stack=True).rename("value").reset_index()


def with_intervals(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] | None = None,
    replicates: int = 500,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Return the AUC of every cell that was run, with its 95 % bootstrap interval over groups (lesions, patients).

    Returns:
        One row a run and class: ``method``, ``chain``, ``abnormal``, ``seed``, ``auc``, ``low``, ``high``.
    """
    frame = select(number, load_results(number, protocols=(protocol,), folder=folder), settings, folder)
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


def reading(number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None) -> "Markdown":
    """Say in computed sentences what a table's cells show, or that they are missing."""
    from IPython.display import Markdown

    frame = reported_and_measured(number, settings=settings, folder=folder)
    reported = frame[frame["reported"].notna()]
    measured = reported[["released", "clean"]].notna().any(axis=1)
    lines = [
        f"{len(reported)} cells are reported; {int(measured.sum())} of them were measured here, "
        f"{int(reported['exact'].sum())} at the paper's settings."
    ]
    measure = SPOKEN[TABLE_METRICS[number]]
    for name in ("released", "clean"):
        run = reported[reported[name].notna()]
        if run.empty:
            continue
        gap = (run[name] - run["reported"]).abs()
        lines.append(
            f"Under *{name}* the mean {measure} of these is {run[name].mean():.3f}, and {run['reported'].mean():.3f} "
            f"as reported; mean |Δ| {gap.mean():.3f}, worst {gap.max():.3f}."
        )
    trivial = frame[frame["reported"].isna() & frame["clean"].notna()]
    trivial = trivial[trivial.index.get_level_values(0).isin(TRIVIAL_METHODS)]
    if len(trivial) and not _only_networks_differ(settings):
        best = trivial["clean"].groupby("abnormal").max()
        lines.append(
            f"The best of the trivial scores, chosen per class afterwards and so an oracle's choice, reaches "
            f"{best.mean():.3f} under *clean* on average."
        )
    return Markdown(" ".join(lines))


def other_choices(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Lay a table out under other choices that stored scores allow: α of Eq. 2, and min-max 0.2 for φ.

    Args:
        number: 1 to 7.
        settings: Of the runs; by default the fullest setting of each method.
        folder: Of the results.

    Returns:
        Rows (method or chain, protocol, choice), columns ``mean`` over classes, then classes: means over seeds of the
        table's measure as text. A score with one term has no α. min-max 0.2 scales the test scores to 0…1 and cuts at
        0.2, as the F1 of Skip-GANomaly's public code does; an AUC needs no φ, so Table 1 has none.

    Example:
        >>> other_choices(4).index.names
        FrozenList(['method', 'protocol', 'choice'])
    """
    frame = alternatives(number, settings=settings, folder=folder)
    row = "chain" if number >= 6 else "method"
    columns = [row, "protocol", "choice"]
    wide = frame.pivot_table(index=columns, columns="abnormal", values="value", sort=False)
    wide.insert(0, "mean", wide.mean(axis=1, skipna=False))
    wide = wide.rename(index=SHOWN_NAMES, level=0).rename(columns=display_name).rename_axis(columns=None)
    return wide.map(lambda value: NOT_RUN if np.isnan(value) else f"{value:.3f}")
