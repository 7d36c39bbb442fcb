"""The main results of the book in five lines, computed from stored results."""

from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from ccb_lib.chapters.studies import difference_table
from ccb_lib.chapters.verdict import waterfalls, what_is_missing
from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.comparisons import differences, planned, settings_run
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import TRIVIAL_METHODS
from ccb_lib.reproduction.results import load_results
from ccb_lib.reproduction.waterfall import ALL, BEST, REPORTED, classes_of_rows, effects, macro

_TABLE = 4  # HAM10000, the data set with the most runs
_DATASET = "ham10000"


def five_lines(steps: pd.DataFrame, folder: str | Path | None = None) -> Markdown:
    """Answer five questions about the method, each in one line with a link to a page.

    Args:
        steps: From `ccb_lib.chapters.verdict.waterfalls`.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        A Markdown list. A line without stored results has "not run".

    Example:
        >>> from ccb_lib.chapters.verdict import waterfalls
        >>> len(five_lines(waterfalls((4,))).data.splitlines())
        5
    """
    answers = {
        "Does the method work under a clean test?": _clean(steps, folder),
        "What can explain the reported numbers?": _explained(steps, folder),
        "Is a chain better than a plain skip?": _chain_or_plain(folder),
        "What to use instead?": (
            "Not measured here. Published detectors on features of a network trained on ImageNet "
            "reach AUCs of .717 to .904 on CIFAR-10 ([Table 1](table-1.html)); on medical images "
            "they were not run. Compare any result with "
            "[mean intensity and a PCA](baselines.html)."
        ),
        "How much was measured?": f"{what_is_missing(folder).data} [The plan](status.html).",
    }
    return Markdown("\n".join(f"- **{question}** {answer}" for question, answer in answers.items()))


def _clean(steps: pd.DataFrame, folder: str | Path | None) -> str:
    """Compare the clean AUCs of the networks with those of scores without a network."""
    frame = load_results(_TABLE, protocols=(CLEAN,), folder=folder)
    frame = frame[
        frame["method"].isin(TRIVIAL_METHODS) & frame["normal"].isna() & frame["image_size"].isna()
    ]
    simple = frame.groupby("method")["auc"].mean()
    clean = steps[(steps["dataset"] == _DATASET) & (steps["step"] == ALL)]
    networks = [(name, part) for name, part in clean.dropna(subset="value").groupby("method")]
    if simple.empty or not networks:
        return "*not run*"
    with_network = "; ".join(
        f"{display_name(name)} {part['value'].mean():.3f} (width {part['width'].iloc[0]:g})"
        for name, part in networks
    )
    reaching = sum(part["value"].mean() >= simple.max() for _, part in networks)
    without_network = ", ".join(
        f"{display_name(name)} {value:.3f}" for name, value in simple.items()
    )
    return (
        f"{reaching or 'None'} of the {len(networks)} networks reached the AUC of "
        f"{display_name(str(simple.idxmax()))}, a score without a network. Mean AUC over the four "
        "classes of HAM10000 (skin), against all normal test images (nevi, benign keratosis-like "
        f"lesions, melanomas), each network at the fullest setting that was run: {with_network}. "
        "Without a network: "
        f"{without_network}. Chance is 0.5. "
        "[Tables 4 and 5](tables-4-5.html)."
    )


def _explained(steps: pd.DataFrame, folder: str | Path | None) -> str:
    """Give the effects of the released test loop, and its numbers beside the paper's."""
    part = steps[steps["dataset"] == _DATASET]
    if part.empty:
        return "*not run*"
    change = effects(part).pivot(index="effect", columns="method", values="mean")
    by = {
        effect: ", ".join(f"{display_name(str(name))} {value:+.3f}" for name, value in row.items())
        for effect, row in change.iterrows()
    }
    pairs = [
        f"{display_name(method)}, {display_name(frame['metric'].iloc[0])} on "
        f"{classes_of_rows(rows)} of {display_name(dataset)}: {found[BEST]:.3f} "
        f"({found[REPORTED]:.3f})"
        for frame in (steps, waterfalls((_TABLE,), metric="accuracy", folder=folder))
        for (dataset, method), rows in frame.groupby(["dataset", "method"])
        if not (found := macro(rows).set_index("step")["mean"]).loc[[REPORTED, BEST]].hasnans
    ]
    return (
        "Not known: the paper's code is not public. The test loop of Skip-GANomaly's public code "
        "can raise an AUC. On HAM10000 two parts of it change the mean AUC: batch statistics of "
        f"batches that are sorted by label ({by['batch statistics']}), and the choice of the epoch "
        f"with test labels ({by['choice of the epoch']}). Measured with this loop, with the "
        "reported value in brackets: "
        f"{'; '.join(pairs)}. "
        "The settings are in the table below. [The protocols](protocols.html)."
    )


def _chain_or_plain(folder: str | Path | None) -> str:
    """Give the difference in macro AUC at the setting with the most seeds on HAM10000."""
    settings = [setting for setting in settings_run("skips", folder) if setting.dataset == _DATASET]
    if not settings:
        return "*not run*"
    frames = {s: differences("skips", s, chosen=["ccb"], folder=folder) for s in settings}
    setting, frame = max(frames.items(), key=lambda item: item[1]["seeds"].max())
    row = frame[frame["abnormal"] == "macro"].iloc[0]
    kind = "" if setting in planned("skips") else "; exploratory, smaller than the planned study"
    verdict = difference_table(frame[frame["abnormal"] == "macro"])["verdict"].iloc[0]
    return (
        f"Verdict: {verdict}. Mean AUC of chains minus that of plain skips, nevi alone as normal "
        f"({setting}{kind}): "
        f"{row['difference']:+.3f}, 95 % interval {row['low']:+.3f} to {row['high']:+.3f}, "
        f"{row['seeds']} seeds. [The study](skips.html)."
    )
