"""What the whole book found, in five lines that are computed from stored results."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ccb_lib.chapters.studies import in_words
from ccb_lib.chapters.verdict import what_is_missing
from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.comparisons import differences, planned, settings_run
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.results import load_results
from ccb_lib.reproduction.runs import TRIVIAL_METHODS
from ccb_lib.reproduction.tables import SHOWN_NAMES
from ccb_lib.reproduction.waterfall import effects

if TYPE_CHECKING:
    from IPython.display import Markdown

_TABLE = 4  # HAM10000: the data set on which most was run
_DATASET = "ham10000"


def five_lines(steps: pd.DataFrame, folder: str | Path | None = None) -> "Markdown":
    """Answer five questions about the method, each in one line with a link to its page.

    Args:
        steps: Of `ccb_lib.chapters.verdict.waterfalls`.
        folder: Of the results; ``data/results`` by default.

    Returns:
        A list. A line whose results are not stored says so.

    Example:
        >>> from ccb_lib.chapters.verdict import waterfalls
        >>> len(five_lines(waterfalls((4,))).data.splitlines())
        5
    """
    from IPython.display import Markdown

    answers = {
        "Does the method work under a clean test?": _clean(steps, folder),
        "What explains the reported numbers?": _explained(steps),
        "Chain or plain skip?": _chain_or_plain(folder),
        "What to use instead?": (
            "A detector on features of a network that was trained on ImageNet; [the baselines](baselines) cite "
            "what others measured with them. Hold any result against [mean intensity and a PCA](baselines)."
        ),
        "What is still unmeasured?": f"{what_is_missing(folder).data} [What is missing](status).",
    }
    return Markdown("\n".join(f"- **{question}** {answer}" for question, answer in answers.items()))


def _clean(steps: pd.DataFrame, folder: str | Path | None) -> str:
    """Lay the networks' clean AUCs beside those of scores that need no network."""
    frame = load_results(_TABLE, protocols=(CLEAN,), folder=folder)
    frame = frame[frame["method"].isin(TRIVIAL_METHODS) & frame["normal"].isna() & frame["image_size"].isna()]
    simple = frame.groupby("method")["auc"].mean()
    clean = steps[(steps["dataset"] == _DATASET) & (steps["step"] == "CLEAN, all normals")]
    networks = clean.groupby("method")["value"].mean().dropna()
    if simple.empty or networks.empty:
        return "*not run*"
    said = ", ".join(f"{SHOWN_NAMES.get(name, name)} {value:.3f}" for name, value in networks.items())
    simpler = ", ".join(f"{display_name(name.replace('-', ' '))} {value:.3f}" for name, value in simple.items())
    return (
        f"Mean AUC on HAM10000, each network at its fullest setting that was run: {said}. Without a network: "
        f"{simpler}. 0.5 is chance. [Tables 4 and 5](tables-4-5)."
    )


def _explained(steps: pd.DataFrame) -> str:
    """Say what the released test loop adds to AUC, for the method of which most was run."""
    part = steps[steps["dataset"] == _DATASET]
    if part.empty:
        return "*not run*"
    fullest = part.sort_values(["epochs", "width"]).iloc[-1]
    part = part[part["method"] == fullest["method"]]
    worth = effects(part).set_index("effect")["mean"]
    return (
        f"The paper's code is not public. The test loop of its public ancestor is worth this much, "
        f"{SHOWN_NAMES.get(fullest['method'], fullest['method'])} on HAM10000 "
        f"({fullest['epochs']:g} epochs, width {fullest['width']:g}): on the same images, batch statistics of batches "
        f"sorted by label add {worth['batch statistics']:+.3f} to the mean AUC, and choosing the epoch by test labels "
        f"{worth['choice of the epoch']:+.3f}. [The protocols](protocols)."
    )


def _chain_or_plain(folder: str | Path | None) -> str:
    """Give the study's difference in macro AUC at the setting with the most seeds on HAM10000."""
    settings = [setting for setting in settings_run("skips", folder) if setting.dataset == _DATASET]
    if not settings:
        return "*not run*"
    frames = {s: differences("skips", s, chosen=["ccb"], folder=folder) for s in settings}
    setting, frame = max(frames.items(), key=lambda item: item[1]["seeds"].max())
    row = frame[frame["abnormal"] == "macro"].iloc[0]
    kind = "" if setting in planned("skips") else ", exploratory"
    return f"Difference in macro AUC, chains less plain skips ({setting}{kind}): {in_words(row)} [The study](skips)."
