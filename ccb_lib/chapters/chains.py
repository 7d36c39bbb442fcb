"""Signals of the skip connections in the runs of Tables 6–7.

Longer chains can lower the AUC by overfitting or by a signal that vanishes in the chain. The tables
do not distinguish the two; the training loss and the signals do.
"""

from pathlib import Path

import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.results import load_results, read_results
from ccb_lib.reproduction.settings import CHOICES, described

_COLUMNS = ("setting", "chain", "chain_init", "seed", "epochs", "key", "epoch", "skip", "signal",
            "spread", "gradient", "similarity")  # fmt: skip


def skip_signal(number: int = 6, folder: str | Path | None = None) -> pd.DataFrame:
    """Read the recorded signals of each skip connection from stored runs on HAM10000.

    Args:
        number: Table 6 or 7. They share their runs.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        One row for each run, epoch and skip. Columns ``setting`` (text, the settings that runs
        have in common), ``chain``, ``chain_init``, ``seed``, ``epochs``, ``key`` (of the run),
        ``epoch`` and ``skip`` (1 is the shallowest). Means over the epoch: ``signal``, the root
        mean square of the output of the skip; ``spread``, the same after subtraction of the mean
        over the batch, which is 0 for an output that does not depend on the image; ``gradient``;
        and ``similarity``, the training loss of Eq. 5.

    Example:
        >>> list(skip_signal().columns)[:3]
        ['setting', 'chain', 'chain_init']
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    results = read_results(number, folder)
    rows = []
    for line in frame[frame["dataset"] == "ham10000"].drop_duplicates("key").to_dict("records"):
        settings = {name: None if pd.isna(line[name]) else line[name] for name in CHOICES}
        run = {"setting": described({**settings, "chain_init": None}), "chain": line["chain"],
               "chain_init": settings["chain_init"] or "he", "seed": line["seed"],
               "epochs": line["epochs"], "key": line["key"]}  # fmt: skip
        rows += [
            {**run, "epoch": epoch["epoch"], "skip": skip, "signal": epoch[f"skip {skip}"],
             "spread": epoch[f"skip {skip} spread"], "gradient": epoch[f"skip {skip} gradient"],
             "similarity": epoch["similarity"]}
            for epoch in results[line["key"]].manifest["history"]
            for skip in range(1, 5) if f"skip {skip}" in epoch
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS)


def chain_summary(
    signals: pd.DataFrame, number: int = 6, folder: str | Path | None = None
) -> pd.DataFrame:
    """Summarise training loss, skip signal and AUC, one row for each initialisation and chain.

    A low training loss with a low AUC is the pattern of overfitting. A spread near 0 is the pattern
    of a signal that vanishes.

    Args:
        signals: Rows of one setting, from `skip_signal`.
        number: Table 6 or 7.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Text. Of the last epoch: ``training loss`` (Eq. 5); ``least spread / signal``, the spread as
        a share of the signal for the skip with the smallest share (0 means that the output of that
        skip is the same for every image); ``at skip``, the number of that skip. ``AUC``: the mean
        over classes and seeds under CLEAN. ``seeds``: their number.
    """
    last = signals[signals["epoch"] == signals["epochs"]]
    # A signal of 0 makes the share 0 / 0. Such an output does not depend on the image: share 0.
    last = last.assign(share=(last["spread"] / last["signal"]).fillna(0))
    by = ["chain_init", "chain"]
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    aucs = frame.merge(last.drop_duplicates("key")[[*by, "key"]], on="key", suffixes=("_given", ""))
    aucs = aucs.rename(columns={"chain_x": "chain"})
    means = last.groupby([*by, "skip"])["share"].mean()
    shown = pd.DataFrame(
        {
            "training loss": last.groupby(by)["similarity"].mean().map("{:.4f}".format),
            "least spread / signal": means.groupby(by).min().map("{:.2g}".format),
            "at skip": means.groupby(by).idxmin().map(lambda found: found[-1]),
            "AUC": aucs.groupby(by)["auc"].mean().map("{:.3f}".format),
            "seeds": last.groupby(by)["seed"].nunique().map(str),
        }
    )
    chains = sorted(last["chain"].unique(), key=lambda chain: int(chain.split("-")[0]))
    order = [
        (start, chain)
        for start in ("he", "dcgan")
        for chain in chains
        if (start, chain) in shown.index
    ]
    return shown.reindex(order).rename_axis(["chains from", "blocks"])


def what_length_does(summary: pd.DataFrame) -> str:
    """Describe how training loss and AUC change from the shortest chain to the longest.

    Args:
        summary: From `chain_summary`.

    Returns:
        Markdown: one line for each initialisation with at least two chains.

    Example:
        >>> rows = pd.MultiIndex.from_tuples([("he", "1-1-1-1"), ("he", "4-3-2-1")])
        >>> table = {"training loss": ["0.2", "0.1"], "AUC": ["0.7", "0.6"], "seeds": ["2", "2"]}
        >>> "the pattern of overfitting" in what_length_does(pd.DataFrame(table, index=rows))
        True
    """
    lines = []
    for start, rows in summary.groupby(level=0, sort=False):
        if len(rows) < 2:
            continue
        shortest, longest = rows.index.get_level_values(1)[[0, -1]]
        losses, aucs = rows["training loss"], rows["AUC"]
        loss_rises = float(losses.iloc[-1]) > float(losses.iloc[0])
        auc_falls = float(aucs.iloc[-1]) < float(aucs.iloc[0])
        conclusion = {
            (False, True): "This is the pattern of overfitting.",
            (True, True): "This is not the pattern of overfitting: the reconstruction of the "
            "training images is worse too.",
        }.get((loss_rises, auc_falls), "The AUC does not fall.")
        if "1" in set(rows["seeds"].iloc[[0, -1]]):
            conclusion += " This rests on one seed."
        started = {"he": "by He's rule", "dcgan": "from N(0, 0.02)"}.get(start, start)
        lines.append(
            f"- Chains initialised {started}, from {shortest} to {longest} blocks: the training "
            f"loss goes from {losses.iloc[0]} to {losses.iloc[-1]}, the AUC from {aucs.iloc[0]} to "
            f"{aucs.iloc[-1]}. {conclusion}"
        )
    return "\n".join(lines)
