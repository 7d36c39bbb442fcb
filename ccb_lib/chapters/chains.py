"""What became of the skips of Tables 6-7: overfitting and a dead signal look alike in a table, and differ here."""

from pathlib import Path

import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.results import load_results, read_results
from ccb_lib.reproduction.settings import CHOICES, described

_COLUMNS = ("setting", "chain", "chain_init", "seed", "epochs", "key", "epoch", "skip", "signal", "spread", "gradient",
            "similarity")  # fmt: skip


def skip_signal(number: int = 6, folder: str | Path | None = None) -> pd.DataFrame:
    """Read what each skip delivered while chains of different length trained on HAM10000.

    Args:
        number: Table 6 or 7, which share their runs.
        folder: Of the results.

    Returns:
        One row a run, epoch and skip: ``setting`` (what runs have in common, in words), ``chain``, ``chain_init``,
        ``seed``, ``epochs``, ``epoch``, ``skip`` (1 is the shallowest); means over the epoch of ``signal`` (root mean
        square of what the skip delivered), ``spread`` (the same about the batch's mean: what it tells of *this*
        image) and ``gradient``; ``similarity`` (the training loss of Eq. 5); and ``key`` of the run.
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    results = read_results(number, folder)
    rows = []
    for line in frame[frame["dataset"] == "ham10000"].drop_duplicates("key").to_dict("records"):
        settings = {name: None if pd.isna(line[name]) else line[name] for name in CHOICES}
        about = {"setting": described({**settings, "chain_init": None}), "chain": line["chain"],
                 "chain_init": settings["chain_init"] or "he", "seed": line["seed"], "epochs": line["epochs"],
                 "key": line["key"]}  # fmt: skip
        rows += [
            {**about, "epoch": epoch["epoch"], "skip": skip, "signal": epoch[f"skip {skip}"],
             "spread": epoch[f"skip {skip} spread"], "gradient": epoch[f"skip {skip} gradient"],
             "similarity": epoch["similarity"]}
            for epoch in results[line["key"]].manifest["history"] for skip in range(1, 5) if f"skip {skip}" in epoch
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS)


def chain_summary(
    signals: pd.DataFrame, number: int = 6, folder: str | Path | None = None
) -> pd.DataFrame:
    """Lay beside each other what overfitting and a dead signal would show, one row a start and chain.

    Args:
        signals: Of `skip_signal`, of one setting.
        number: Table 6 or 7.
        folder: Of the results.

    Returns:
        Over the last epoch ``training loss`` (Eq. 5), and for the skip where it is least, ``spread`` as a share of the
        signal: 0 where a skip says the same of every image; and ``AUC``, the mean over classes and seeds under CLEAN.
    """
    last = signals[signals["epoch"] == signals["epochs"]]
    last = last.assign(
        share=(last["spread"] / last["signal"]).fillna(0)
    )  # no signal at all tells nothing either
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
    """Say in computed sentences how training loss and AUC go from the shortest chain to the longest.

    Args:
        summary: Of `chain_summary`.

    Returns:
        Markdown, a line for each start of which two chains or more were run.
    """
    lines = []
    for start, rows in summary.groupby(level=0, sort=False):
        if len(rows) < 2:
            continue
        (short, long), losses, aucs = (
            rows.index.get_level_values(1)[[0, -1]],
            rows["training loss"],
            rows["AUC"],
        )
        rises, falls = (
            float(losses.iloc[-1]) > float(losses.iloc[0]),
            float(aucs.iloc[-1]) < float(aucs.iloc[0]),
        )
        reading = {
            (False, True): "as overfitting would show",
            (
                True,
                True,
            ): "not as overfitting would show, since the training images are rebuilt less well too",
        }.get((rises, falls), "longer ranks no worse here")
        lines.append(
            f"- Chains from {start}, {short} to {long}: training loss {losses.iloc[0]} to {losses.iloc[-1]}, AUC "
            f"{aucs.iloc[0]} to {aucs.iloc[-1]}; {reading}."
        )
    return "\n".join(lines)
