"""Tables, captions, long frames and sentences made from stored results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from ccb_lib.chapters.table_settings import only_networks_differ
from ccb_lib.evaluation.protocols import CLEAN, Protocol
from ccb_lib.metrics import bootstrap_interval
from ccb_lib.plots.style import NOT_RUN
from ccb_lib.reproduction.choices import alternatives
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import TABLES, TRIVIAL_METHODS
from ccb_lib.reproduction.results import with_scores
from ccb_lib.reproduction.tables import reported_and_measured, runs_in_words, select

COPIES = {"ham10000": "Images: a copy of 200×150 pixels each; the source has 600×450."}
"""Note for captions on data sets whose images in the stored runs are smaller than at the source."""


def runs_caption(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> Markdown:
    """Return a caption that names the runs of networks in a figure, as the captions of tables do.

    Args:
        number: Table 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One line of Markdown.

    Example:
        >>> "GANomaly: 50 epochs" in runs_caption(4).data
        True
    """
    return Markdown(f"*{_caption(number, settings, [], False, folder) or 'No network was run.'}*")


def reported_released_clean(
    number: int,
    *,
    settings: Mapping[str, Any] | None = None,
    missing: bool = True,
    folder: str | Path | None = None,
) -> Styler:
    """Return a table with the rows reported, released and clean of each method, one column a class.

    Args:
        number: Table 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        missing: Whether to include the reported rows of methods and the columns of classes that
            were not run, and to name these methods in the caption.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Rows (method or chain, source). An asterisk marks a protocol imposed on a method
        (`is_imposed`). Values measured at the paper's settings are bold. The caption names the runs
        of each method and the methods that were not run. A method that was not run has only its
        reported row. With ``settings``, trivial scores have rows only if these change the images.

    Example:
        >>> table = reported_released_clean(4, folder="/nowhere")
        >>> table.data.loc[("CCB", "reported"), "bcc"]
        '0.973'
    """
    frame = reported_and_measured(number, settings=settings, folder=folder)
    if only_networks_differ(settings):
        frame = frame.drop(index=list(TRIVIAL_METHODS), level=0, errors="ignore")
    frame = frame.rename(index=display_name, level=0)
    with_class = frame if missing else frame[frame[["released", "clean"]].notna().any(axis=1)]
    classes = list(with_class.index.unique("abnormal"))
    rows, not_run, exact = {}, [], set()
    for name in frame.index.unique(0):
        part = frame.loc[name].reindex(classes)
        run = part[["released", "clean"]].notna().any(axis=None)
        if not run:
            not_run.append(f"{name} blocks" if TABLES[number].chains else name)
        if part["reported"].notna().any() and (run or missing):
            rows[name, "reported"] = part["reported"]
        if run:
            released = "released*" if part["imposed"].any() else "released"
            rows[name, released], rows[name, "clean"] = part["released"], part["clean"]
            exact |= {(name, released), (name, "clean")} if part["exact"].any() else set()
    # The index has no names, because they would add a row to the header.
    index = pd.MultiIndex.from_tuples(list(rows), names=[None, None])
    shown = pd.DataFrame(
        list(rows.values()), index=index, columns=pd.Index(classes, name="abnormal")
    )
    shown = shown.map(lambda v: NOT_RUN if pd.isna(v) else f"{v:.3f}").rename(columns=display_name)
    style = shown.style.set_table_attributes('class="dataframe"')
    style = style.apply(
        lambda row: ["font-weight: bold" if row.name in exact else ""] * len(row), axis=1
    )
    caption = _caption(number, settings, not_run if missing else [], bool(exact), folder)
    return style.set_caption(caption) if caption else style


def _caption(
    number: int,
    settings: Mapping[str, Any] | None,
    not_run: list[str],
    bold: bool,
    folder: str | Path | None,
) -> str:
    runs = runs_in_words(number, settings=settings, folder=folder)
    parts = [f"{display_name(method)}: {text}." for method, text in runs.items()]
    if bold:
        parts.append("Bold: measured at the paper's settings.")
    if runs:
        parts += [COPIES[name] for name in TABLES[number].datasets if name in COPIES]
    if not_run:
        parts.append(f"Not run: {', '.join(not_run)}.")
    return " ".join(parts)


def long_form(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Return a table in long form, as `grouped_bars` and `chain_lines` take it.

    Args:
        number: Table 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One row for each cell and source; ``value`` is NaN for a missing cell.

    Example:
        >>> sorted(long_form(4)["source"].unique())
        ['clean', 'released', 'reported']
    """
    frame = reported_and_measured(number, settings=settings, folder=folder)[
        ["reported", "released", "clean"]
    ]
    frame = frame.rename(index=display_name, level=0).rename_axis(columns="source")
    return frame.stack(future_stack=True).rename("value").reset_index()


def with_intervals(
    number: int,
    *,
    protocol: Protocol = CLEAN,
    settings: Mapping[str, Any] | None = None,
    replicates: int = 500,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Return the AUC of each cell that was run, with a 95 % bootstrap interval.

    Args:
        number: Table 1 to 7.
        protocol: The evaluation protocol.
        settings: Settings of the runs; by default the fullest setting of each method.
        replicates: Number of bootstrap replicates. Groups (lesions, patients) are resampled; images
            on CIFAR-10.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One row for each run and class: ``method``, ``chain``, ``abnormal``, ``seed``, ``auc``,
        ``low``, ``high``.

    Example:
        >>> list(with_intervals(4, folder="/nowhere").columns)[-3:]
        ['auc', 'low', 'high']
    """
    frame = select(number, settings, protocols=(protocol,), folder=folder)
    rows = []
    for line, _, tests, scores in with_scores(number, frame, (protocol,), folder):
        groups = None if line.dataset == "cifar10" else tests.groups
        interval = bootstrap_interval(scores, tests.labels, groups=groups, replicates=replicates)
        run = (line.method, line.chain, line.abnormal, line.seed)
        rows.append((*run, interval.estimate, interval.low, interval.high))
    return pd.DataFrame(rows, columns=["method", "chain", "abnormal", "seed", "auc", "low", "high"])


def note(number: int) -> Markdown:
    """Return a line with the command that runs a table, for a table that was not run.

    Args:
        number: Table 1 to 7.

    Example:
        >>> note(4).data.startswith("*Not run yet.")
        True
    """
    return Markdown(
        f"*Not run yet. `ccb table {number} --run --device cuda --seeds 3` fills these cells.*"
    )


def reading(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> Markdown:
    """Summarise the measured cells of a table in computed sentences.

    Args:
        number: Table 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Markdown: numbers of reported and measured cells, means under each protocol, differences
        from the reported values, and the best scores without a network.

    Example:
        >>> reading(4).data.startswith("The paper reports 20 cells.")
        True
    """
    frame = reported_and_measured(number, settings=settings, folder=folder)
    reported = frame[frame["reported"].notna()]
    measured = reported[["released", "clean"]].notna().any(axis=1)
    lines = [
        f"The paper reports {len(reported)} cells. Measured here: {int(measured.sum())}; at the "
        f"paper's settings: {int(reported['exact'].sum())}."
    ]
    measure = display_name(TABLES[number].metric)
    for name in ("released", "clean"):
        run = reported[reported[name].notna()]
        if run.empty:
            continue
        gap = (run[name] - run["reported"]).abs()
        lines.append(
            f"Under *{name}* the mean {measure} of the measured cells is {run[name].mean():.3f}; "
            f"the paper reports {run['reported'].mean():.3f} for the same cells (mean "
            f"absolute difference {gap.mean():.3f}, largest {gap.max():.3f})."
        )
    trivial = frame[frame["reported"].isna() & frame["clean"].notna()]
    trivial = trivial[trivial.index.get_level_values(0).isin(TRIVIAL_METHODS)]
    if len(trivial) and not only_networks_differ(settings):
        best = trivial["clean"].groupby("abnormal").max()
        cells = reported[reported["clean"].notna()].index.unique("abnormal")
        best = best.loc[cells] if len(cells) else best
        lines.append(
            f"Under *clean*, the best score without a network has a mean of {best.mean():.3f} over "
            f"{'these' if len(cells) else 'all'} classes. It is an oracle choice: the test labels "
            "determine, for each class, which score is best."
        )
    return Markdown(" ".join(lines))


def other_choices(
    number: int, *, settings: Mapping[str, Any] | None = None, folder: str | Path | None = None
) -> pd.DataFrame:
    """Return a table under other values of α (Eq. 2) and another rule for φ, from stored scores.

    Args:
        number: Table 1 to 7.
        settings: Settings of the runs; by default the fullest setting of each method.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Text: the table's measure, as mean over seeds. Rows (method or chain, protocol, choice);
        columns ``mean`` (over classes) and the classes. A score with one term has no α. The rule
        "min-max 0.2" scales the test scores to 0…1 and puts φ at 0.2, as the F1 of Skip-GANomaly's
        public code does. AUC needs no φ, so Table 1 has no such row.

    Example:
        >>> other_choices(4).index.names
        FrozenList(['method', 'protocol', 'choice'])
    """
    frame = alternatives(number, settings=settings, folder=folder)
    row = TABLES[number].row
    if row == "chain":
        first = frame["chain"].str.split("-").str[0].astype(int)
        frame = frame.loc[first.sort_values(kind="stable").index]
    columns = [row, "protocol", "choice"]
    wide = frame.pivot_table(index=columns, columns="abnormal", values="value", sort=False)
    wide.insert(0, "mean", wide.mean(axis=1, skipna=False))
    wide = (
        wide.rename(index=display_name, level=0)
        .rename(columns=display_name)
        .rename_axis(columns=None)
    )
    return wide.map(lambda value: NOT_RUN if np.isnan(value) else f"{value:.3f}")
