"""Text and tables of the studies: verdicts, differences between arms, and missing runs."""

from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown

from ccb_lib.plots.style import NOT_RUN
from ccb_lib.reproduction.comparisons import (
    at_setting,
    differences,
    planned,
    study_frame,
)
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.studies import arm_of, runs_of


def primary(folder: str | Path | None = None) -> Markdown:
    """Return the primary comparisons: CCB against plain skips, macro AUC under CLEAN.

    The settings of these comparisons were fixed before the runs. There is a verdict only if all
    planned classes and seeds were run.

    Args:
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Markdown: one line a setting, with the verdict or with the command that runs what is
        missing.

    Example:
        >>> "not run" in primary("/nowhere").data
        True
    """
    lines = []
    for setting in planned("skips"):
        frame = at_setting(study_frame("skips", folder), setting)
        runs = {run.seed: set() for run in runs_of("skips", datasets=[setting.dataset])}
        for run in runs_of("skips", datasets=[setting.dataset], chosen=["ccb", "identity"]):
            runs[run.seed] |= {(arm_of("skips", run.identity), name) for name in run.abnormal}
        stored = {
            seed: set(zip(part["arm"], part["abnormal"], strict=True))
            for seed, part in frame.groupby("seed")
        }
        complete = [seed for seed, wanted in runs.items() if wanted <= stored.get(seed, set())]
        if len(complete) == len(runs):
            found = differences("skips", setting, chosen=["ccb"], folder=folder)
            row = found[found["abnormal"] == "macro"].iloc[0]
            lines.append(f"- **{setting}:** {in_words(row)}")
            continue
        state = f"{len(complete)} of {len(runs)} seeds, no verdict yet" if complete else NOT_RUN
        lines.append(
            f"- **{setting}: {state}.** `ccb study skips --run --data {setting.dataset} "
            "--device cuda --fast` runs what is missing."
        )
    return Markdown("\n".join(lines))


def in_words(row: Any) -> str:
    """Return one row of `differences` as a sentence.

    Args:
        row: A row of `ccb_lib.reproduction.comparisons.differences`.

    Returns:
        The difference with interval and p-values. It has a verdict only if all planned seeds were
        run.

    Example:
        >>> in_words({"arm": "ccb", "difference": 0.01, "seeds": 1})
        'ccb: +0.010 with one seed, no verdict.'
    """
    if row["seeds"] == 1:
        return f"{row['arm']}: {row['difference']:+.3f} with one seed, no verdict."
    numbers = (
        f"{row['difference']:+.3f} (95 % interval {row['low']:+.3f} to {row['high']:+.3f}, "
        f"p-value {p_text(row['p'])}, sign-flip p-value {p_text(row['sign_flip_p'])}"
    )
    if row["seeds"] < row["planned_seeds"]:
        seeds = f"{row['seeds']} of {row['planned_seeds']} planned seeds"
        return f"{row['arm']}: {numbers}); no verdict with {seeds}."
    return f"{row['arm']} is **{row['verdict']}**: {numbers}; {row['seeds']} seeds)."


def p_text(p: float) -> str:
    """Format a p-value with three digits; ``–`` for NaN.

    Args:
        p: The p-value, 0…1.

    Returns:
        The text; "under .001" for smaller values.

    Example:
        >>> p_text(0.0321), p_text(0.00004)
        ('.032', 'under .001')
    """
    if pd.isna(p):
        return "–"
    return "under .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def difference_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `differences` as text, one row for each arm and class.

    Args:
        frame: From `ccb_lib.reproduction.comparisons.differences`.

    Returns:
        Difference, interval, p-values, seeds and verdict. The verdict is "no verdict" with one seed
        or with fewer seeds than planned.
    """
    shown = pd.DataFrame(
        {
            "difference": frame["difference"].map("{:+.3f}".format),
            "95 % interval": [f"{row.low:+.3f} to {row.high:+.3f}" for row in frame.itertuples()],
            "p": frame["p"].map(p_text),
            "adjusted p": frame["adjusted_p"].map(p_text),
            "sign flips": frame["sign_flip_p"].map(p_text),
            "seeds": frame["seeds"],
            "verdict": frame["verdict"].where(
                frame["seeds"] >= frame["planned_seeds"].clip(lower=2), "no verdict"
            ),
        }
    )
    shown.index = pd.MultiIndex.from_arrays(
        [frame["arm"], frame["abnormal"].map(display_name)], names=[None, None]
    )
    return shown
