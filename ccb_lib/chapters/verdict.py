"""Tables and sentences on the waterfall, on what was run, and on what is missing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import CLEAN, is_imposed
from ccb_lib.plots.style import NOT_RUN
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import CLASSES, PAPER_TABLES, TABLES, TRIVIAL_METHODS
from ccb_lib.reproduction.results import FALSE_ALARMS, with_scores
from ccb_lib.reproduction.settings import PAPER
from ccb_lib.reproduction.tables import coverage, reported_and_measured, select
from ccb_lib.reproduction.waterfall import (
    ALL,
    BEST,
    REPORTED,
    SAME,
    STEPS,
    classes_of_rows,
    effects,
    macro,
    runs_of_rows,
    waterfall,
)

_WITH_METHODS = (1, 2, 4)  # one table of each data set


def waterfalls(
    numbers: Sequence[int] = (1, 4), *, metric: str = "auc", folder: str | Path | None = None
) -> pd.DataFrame:
    """Join the waterfalls of several tables, at the fullest setting of each method.

    Args:
        numbers: The tables.
        metric: ``"auc"``, ``"accuracy"`` or ``"f1"``.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Rows as `ccb_lib.reproduction.waterfall.waterfall` returns them.

    Example:
        >>> sorted(waterfalls((4,))["dataset"].unique())
        ['ham10000']
    """
    parts = [waterfall(number, metric=metric, folder=folder) for number in numbers]
    parts = [part for part in parts if len(part)]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else waterfall(numbers[0], metric=metric, folder=folder)
    )


def waterfall_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a waterfall as text: rows are networks, columns are steps.

    Args:
        frame: Rows of one measure from `ccb_lib.reproduction.waterfall.waterfall`.

    Returns:
        Means over classes, ± their standard deviation over seeds if there are two or more.

    Example:
        >>> waterfall_table(waterfall(4)).loc[("HAM10000", "GANomaly"), "reported"]
        'not reported'
    """
    steps = STEPS[frame["metric"].iloc[0]] if len(frame) else STEPS["auc"]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in macro(frame).itertuples():
        missing = "not reported" if line.step == "reported" else "not stored"
        spread = "" if np.isnan(line.spread) or line.step == "reported" else f" ± {line.spread:.3f}"
        text = missing if np.isnan(line.mean) else f"{line.mean:.3f}{spread}"
        name = display_name(line.method)
        rows.setdefault((display_name(line.dataset), name), {})[line.step] = text
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(steps))


def effects_in_words(frame: pd.DataFrame) -> Markdown:
    """Describe the effects of batch statistics and of the choice of the epoch, one line a network.

    Args:
        frame: Rows of one measure from `ccb_lib.reproduction.waterfall.waterfall`.

    Returns:
        Markdown. The effects are the differences of `ccb_lib.reproduction.waterfall.effects`.

    Example:
        >>> "batch statistics" in effects_in_words(waterfall(4)).data
        True
    """
    if frame.empty:
        return Markdown(f"*Networks: {NOT_RUN}.*")
    found = effects(frame)
    lines = []
    for (dataset, method), part in found.groupby(["dataset", "method"], sort=False):
        change = {
            line["effect"]: _signed(line["mean"], line["spread"]) for _, line in part.iterrows()
        }
        rows = frame[(frame["dataset"] == dataset) & (frame["method"] == method)]
        text = (
            f"- **{display_name(dataset)}, {display_name(method)}, {runs_of_rows(rows)}.** "
            f"On the same images, RELEASED changes the {display_name(frame['metric'].iloc[0])} by "
            f"{change['both']}: choosing the epoch by test labels "
            f"{change['choice of the epoch']}, batch statistics {change['batch statistics']}."
        )
        if "threshold" in change:
            text += (
                f" The oracle φ instead of the calibrated φ changes it by {change['threshold']}."
            )
        if dataset != "cifar10":  # on CIFAR-10, both protocols test on the same images
            text += (
                " Testing only the normal images of RELEASED, and not all normal test images, "
                f"changes it by {change['other normals']}."
            )
        if is_imposed(METHODS[method], dataset):
            own = "shuffles the test images" if method == "ganomaly" else "tests in inference mode"
            text += f" {display_name(method)}'s own code {own}; RELEASED was applied to it here."
        lines.append(text)
    return Markdown("\n".join(lines))


def headline(frame: pd.DataFrame) -> Markdown:
    """Say in one sentence what the clean test leaves of each network's AUC.

    Args:
        frame: From `waterfalls`, with the measure AUC.

    Returns:
        Markdown: for each network the mean AUC over the classes that were run, as RELEASED (best
        epoch), as CLEAN on the same images, as CLEAN on all normal test images (on CIFAR-10
        they are the same images), and the mean reported for these classes.

    Example:
        >>> headline(waterfalls((4,))).data.startswith("**What was found.** Mean AUC")
        True
    """
    if frame.empty:
        return Markdown(f"**What was found.** Nothing yet: networks were {NOT_RUN} here.")
    parts = []
    for (dataset, method), rows in frame.groupby(["dataset", "method"], sort=False):
        mean = macro(rows).set_index("step")["mean"]
        more = "" if dataset == "cifar10" else f" ({mean[ALL]:.3f} with all normal test images)"
        parts.append(
            f"{display_name(method)} (width {rows['width'].iloc[0]:g}), {classes_of_rows(rows)}: "
            f"{mean[BEST]:.3f} as released and "
            f"{mean[SAME]:.3f} clean{more}"
            f"{'' if np.isnan(mean[REPORTED]) else f', {mean[REPORTED]:.3f} reported'}"
        )
    return Markdown(
        "**What was found.** Mean AUC on the images that RELEASED tests. Each network was trained "
        "once for both protocols, at the fullest setting that was run of it; RELEASED takes the "
        "epoch with the best test AUC, CLEAN the last. "
        f"{'; '.join(parts)}. Chance is 0.5."
    )


def _signed(mean: float, spread: float) -> str:
    return (
        "(not stored)" if np.isnan(mean) else f"{mean:+.3f} ± {spread:.3f}".removesuffix(" ± nan")
    )


def what_was_run(folder: str | Path | None = None) -> pd.DataFrame:
    """List the runs of each network at its fullest setting, on each data set.

    Args:
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Rows (data, method): ``epochs``, ``width``, ``seeds``, ``classes`` (such as "4 of 4"),
        ``device``, and ``setting``, which is ``"the paper's"`` or ``"other"``.

    Example:
        >>> what_was_run().loc[("HAM10000", "GANomaly"), "setting"]
        "the paper's"
    """
    parts = {}
    for number in _WITH_METHODS:
        dataset = TABLES[number].datasets[0]
        for run in coverage(number, folder=folder).itertuples():
            parts[display_name(dataset), display_name(run.Index)] = {
                "epochs": run.epochs,
                "width": run.width,
                "seeds": run.seeds,
                "classes": f"{run.classes} of {len(CLASSES[dataset])}",
                "device": run.device,
                "setting": "the paper's" if run.exact else "other",
            }
    return pd.DataFrame.from_dict(parts, orient="index")


def what_is_missing(folder: str | Path | None = None) -> Markdown:
    """Return the number of reported cells that were measured at the paper's settings, as a line.

    Args:
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One sentence, with the numbers of each table.

    Example:
        >>> "of 210 reported cells" in what_is_missing().data
        True
    """
    counts = {}
    for number in PAPER_TABLES:
        frame = reported_and_measured(number, settings=PAPER, folder=folder)
        reported = frame[frame["reported"].notna()]
        counts[number] = (
            int(reported[["released", "clean"]].notna().any(axis=1).sum()),
            len(reported),
        )
    done, wanted = (sum(column) for column in zip(*counts.values(), strict=True))
    listed = ", ".join(
        f"Table {number}: {run} of {cells}" for number, (run, cells) in counts.items()
    )
    return Markdown(
        f"At the paper's settings, {done} of {wanted} reported cells were measured ({listed}). "
        "These are 50 epochs, batches of 64 and images of 32×32 pixels. The paper states no width; "
        "64 is that of Skip-GANomaly's code."
    )


def false_alarms_observed(number: int | str, *, folder: str | Path | None = None) -> pd.DataFrame:
    """Return the false-alarm rate on the normal test images under CLEAN.

    φ is calibrated for the rate `FALSE_ALARMS` on normal images that are distributed like the
    calibration images.

    Args:
        number: Table 1 to 7, or the name of a study.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One row for each run and class: ``method``, ``abnormal``, ``seed``, ``allowed`` (the rate φ
        is calibrated for), ``observed`` (the share of normal test images above φ), ``normals``
        (their number).

    Example:
        >>> false_alarms_observed(4)["observed"].between(0, 1).all()
        np.True_
    """
    frame = select(number, protocols=(CLEAN,), folder=folder)
    frame = frame[frame["threshold"].notna()]
    rows = []
    for line, _, tests, scores in with_scores(number, frame, folder=folder):
        normals = scores[~tests.labels]
        observed = float((normals > line.threshold).mean())
        rows.append((line.method, line.abnormal, line.seed, FALSE_ALARMS, observed, len(normals)))
    return pd.DataFrame(
        rows, columns=["method", "abnormal", "seed", "allowed", "observed", "normals"]
    )


def with_enough_seeds(table: pd.DataFrame, least: int = 5) -> tuple[pd.DataFrame, str]:
    """Drop the rows of networks that were run with few seeds.

    Args:
        table: From `ccb_lib.reproduction.comparisons.arm_table`; its index is the method.
        least: Minimum number of seeds of a network.

    Returns:
        The remaining rows, and a sentence that names those dropped ("" if none).

    Example:
        >>> table = pd.DataFrame({"seeds": [1, 5]}, index=["ganomaly", "ccb"])
        >>> with_enough_seeds(table)[0].index.tolist()
        ['ccb']
    """
    few = (table["seeds"] < least) & ~table.index.isin(TRIVIAL_METHODS)
    if not few.any():
        return table, ""
    counts = ", ".join(f"{display_name(name)} ({n})" for name, n in table.loc[few, "seeds"].items())
    return table[~few], f"Not shown, because fewer than {least} seeds were run: {counts}."
