"""Studies on the page: verdicts in words, tables of differences, and what was not run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ccb_lib.plots.style import NOT_RUN
from ccb_lib.reproduction.comparisons import at_setting, differences, planned, settings_run, study_frame
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.studies import arm_of, runs_of

if TYPE_CHECKING:
    from IPython.display import Markdown


def primary(folder: str | Path | None = None) -> "Markdown":
    """Say what the two figures named beforehand say: CCB against plain skips, macro AUC under CLEAN.

    A verdict is given when every class and every seed that was planned is there, and no sooner.
    """
    from IPython.display import Markdown

    lines = []
    for setting in planned("skips"):
        frame = at_setting(study_frame("skips", folder), setting)
        runs = {run.seed: set() for run in runs_of("skips", datasets=[setting.dataset])}
        for run in runs_of("skips", datasets=[setting.dataset], chosen=["ccb", "identity"]):
            runs[run.seed] |= {(arm_of("skips", run.identity), name) for name in run.abnormal}
        there = {seed: set(zip(part["arm"], part["abnormal"], strict=True)) for seed, part in frame.groupby("seed")}
        whole = [seed for seed, wanted in runs.items() if wanted <= there.get(seed, set())]
        if len(whole) == len(runs):
            found = differences("skips", setting, chosen=["ccb"], folder=folder)
            row = found[found["abnormal"] == "macro"].iloc[0]
            lines.append(f"- **{setting}:** {in_words(row)}")
            continue
        lines.append(
            f"- **{setting}: {f'{len(whole)} of {len(runs)} seeds, no verdict yet' if whole else NOT_RUN}.** "
            f"`ccb study skips --run --data {setting.dataset} --device cuda --fast` trains what is missing."
        )
    return Markdown("\n".join(lines))


def at_other_sizes(folder: str | Path | None = None) -> "Markdown":
    """Say what CCB against plain skips came to at other sizes than those planned; exploratory, and named so."""
    from IPython.display import Markdown

    lines = []
    for setting in settings_run("skips", folder):
        if setting in planned("skips"):
            continue
        found = differences("skips", setting, chosen=["ccb"], folder=folder)
        lines += [
            f"- {setting}, exploratory: {in_words(row)}" for _, row in found[found["abnormal"] == "macro"].iterrows()
        ]
    return Markdown("\n".join(lines) or "*Nothing was run at another size.*")


def in_words(row: Any) -> str:
    """Say one row of `differences` as a sentence; a verdict only where every planned seed is there."""
    if row["seeds"] == 1:
        return f"{row['arm']}: {row['difference']:+.3f} with one seed, which decides nothing."
    numbers = (
        f"{row['difference']:+.3f} (95 % interval {row['low']:+.3f} to {row['high']:+.3f}, p = {p_text(row['p'])}, "
        f"sign flips {p_text(row['sign_flip_p'])}"
    )
    if row["seeds"] < row["planned_seeds"]:
        return f"{row['arm']}: {numbers}); no verdict with {row['seeds']} of {row['planned_seeds']} planned seeds."
    return f"{row['arm']} is **{row['verdict']}**: {numbers}; {row['seeds']} seeds)."


def p_text(p: float) -> str:
    """Write a p-value with as many digits as say something; ``–`` where there is none.

    Example:
        >>> p_text(0.0321), p_text(0.00004)
        ('.032', 'under .001')
    """
    if pd.isna(p):
        return "–"
    return "under .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def difference_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Write `differences` as text: difference, interval, p-values, verdict, a line an arm and class."""
    shown = pd.DataFrame(
        {
            "difference": frame["difference"].map("{:+.3f}".format),
            "95 % interval": [f"{row.low:+.3f} to {row.high:+.3f}" for row in frame.itertuples()],
            "p": frame["p"].map(p_text),
            "adjusted p": frame["adjusted_p"].map(p_text),
            "sign flips": frame["sign_flip_p"].map(p_text),
            "seeds": frame["seeds"],
            "verdict": frame["verdict"].where(frame["seeds"] >= frame["planned_seeds"].clip(lower=2), "no verdict"),
        }
    )
    shown.index = pd.MultiIndex.from_arrays([frame["arm"], frame["abnormal"].map(display_name)], names=[None, None])
    return shown
