"""How studies are shown: arms beside each other, differences with intervals, verdicts, and what was not run."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ccb_lib.paired import Difference, Pair, holm, paired_differences, verdict
from ccb_lib.plots.style import spoken
from ccb_lib.protocols import CLEAN
from ccb_lib.results import load_results, read_results, scores_of
from ccb_lib.runs import TRIVIAL_METHODS
from ccb_lib.scores import anomaly_score
from ccb_lib.studies import EPOCHS, MARGIN, SEEDS, arm_of, arms

if TYPE_CHECKING:
    from IPython.display import Markdown


_SLICES = "lung_ct_98"


class Setting(NamedTuple):
    """What all arms of a comparison have in common.

    Attributes:
        dataset: As `load_dataset` knows it; ``lung_ct_98`` for the stand-in.
        epochs: Of training.
        width: ``None`` is the detectors' own, 64.
        limit: Images of each part at most; ``None`` is all.
    """

    dataset: str
    epochs: int
    width: int | None = None
    limit: int | None = None

    def __str__(self) -> str:
        words = [spoken(self.dataset), f"{self.epochs} epochs", f"width {self.width or 64}"]
        return ", ".join([*words, *([f"at most {self.limit} images of each part"] if self.limit else [])])


def planned(study: str) -> list[Setting]:
    """List the settings that a study was planned for."""
    if study == "lung-ct-98":
        return [Setting(_SLICES, EPOCHS["ild"])]
    return [Setting(dataset, EPOCHS[dataset]) for dataset in ("cifar10", "ham10000")]


def settings_run(study: str, folder: str | Path | None = None) -> list[Setting]:
    """List the settings under which a study was run, those planned first."""
    frame = study_frame(study, folder)
    found = {
        Setting(line.dataset, int(line.epochs), *(None if pd.isna(v) else int(v) for v in (line.width, line.limit)))
        for line in frame[frame["epochs"].notna()].itertuples()
    }
    first = [setting for setting in planned(study) if setting in found]
    return first + sorted(found - set(first), key=str)


def study_frame(study: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Return `load_results` of a study under CLEAN, with ``arm``, and without runs of other studies."""
    frame = load_results(study, protocols=(CLEAN,), folder=folder)
    results = read_results(study, folder)
    frame["arm"] = [arm_of(study, results[key].manifest) for key in frame["key"]]
    if study == "lung-ct-98":
        frame["dataset"] = _SLICES  # loaded as ILD, and another thing
    return frame[frame["arm"].notna()]


def _at(frame: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    keep = frame["dataset"] == setting.dataset
    for name in ("epochs", "width", "limit"):
        value = getattr(setting, name)
        same = frame[name].isna() if value is None else frame[name] == value
        keep &= same | (frame["method"].isin(TRIVIAL_METHODS) if name != "limit" else False)
    return frame[keep]


def arm_table(study: str, folder: str | Path | None = None) -> dict[Setting, pd.DataFrame]:
    """Lay a study's arms out, a table for each setting that was run.

    Returns:
        Rows are arms, columns classes, then their mean ``macro``: the AUC's mean over seeds ± their standard deviation,
        as text; ``seeds`` says how many.
    """
    frame = study_frame(study, folder)
    return {setting: _laid_out(study, _at(frame, setting)) for setting in settings_run(study, folder)}


def _laid_out(study: str, frame: pd.DataFrame) -> pd.DataFrame:
    wide = frame.pivot_table(index=["arm", "seed"], columns="abnormal", values="auc")
    if len(wide.columns) > 1:
        wide["macro"] = wide.mean(axis=1, skipna=False)
    grouped = wide.groupby("arm")
    mean, spread, seeds = grouped.mean(), grouped.std(), grouped.size()
    shown = mean.map("{:.3f}".format) + spread.map(lambda s: "" if pd.isna(s) else f" ± {s:.3f}")
    shown = shown.where(mean.notna(), "not run").assign(seeds=seeds)
    return shown.reindex([arm for arm in arms(study, _width(frame)) if arm in shown.index]).rename_axis(columns=None)


def _width(frame: pd.DataFrame) -> int | None:
    widths = frame["width"].dropna()
    return int(widths.iloc[0]) if len(widths) else None


def differences(
    study: str,
    setting: Setting,
    *,
    reference: str = "identity",
    replicates: int = 1000,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Hold every arm of a study against one of them, over the seeds and classes that both have.

    Args:
        study: Of `STUDIES`.
        setting: Of all arms.
        reference: The arm to hold others against.
        replicates: See `paired_differences`.
        folder: Of the results.

    Returns:
        One row an arm and ``abnormal`` (``"macro"``, then classes): ``difference`` in AUC, above 0 where the arm is
        better, ``low``, ``high``, ``p``, ``holm`` (p corrected over the classes; the macro is not among them),
        ``seeds``, and ``verdict`` against the margin, for a class by its corrected p as well.
    """
    rows: list[dict[str, Any]] = []
    frame = _at(study_frame(study, folder), setting)
    results = read_results(study, folder)
    for arm in arms(study, setting.width):
        if arm == reference:
            continue
        pairs = list(_pairs(frame, results, arm, reference))
        if not pairs:
            continue
        found = paired_differences(pairs, replicates=replicates)
        macro = found.pop("macro")
        corrected = holm({name: difference.p for name, difference in found.items()})
        rows.append({"arm": arm, "abnormal": "macro", **_as_row(macro), "verdict": verdict(macro, MARGIN)})
        for name, difference in found.items():
            said = verdict(difference, MARGIN)
            if said in ("better", "worse") and corrected[name] >= 0.05:
                said = "undecided"
            rows.append({"arm": arm, "abnormal": name, **_as_row(difference), "holm": corrected[name], "verdict": said})
    columns = ["arm", "abnormal", "difference", "low", "high", "p", "holm", "seeds", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _as_row(difference: Difference) -> dict[str, Any]:
    row = difference._asdict()
    return {"difference": row.pop("estimate"), **row}


def _pairs(frame: pd.DataFrame, results: Any, arm: str, reference: str) -> Iterator[Pair]:
    """Pair two arms' runs, over the seeds that have every class both arms were run on."""
    keys = {name: frame[frame["arm"] == name].set_index(["seed", "abnormal"])["key"] for name in (arm, reference)}
    cells = keys[arm].index.intersection(keys[reference].index)
    classes, seeds = cells.unique("abnormal"), cells.unique("seed")
    whole = [seed for seed in seeds if all((seed, name) in cells for name in classes)]
    for seed, name in product(whole, classes):
        (a, tests), (b, others) = (_scored(results[keys[which][seed, name]], name) for which in (arm, reference))
        if tests.key != others.key:
            raise ValueError(f"{arm} and {reference}, seed {seed}, {name}: tested on different images. Run them again.")
        alone = results[keys[arm][seed, name]].manifest["dataset"] == "cifar10"
        yield Pair(seed, name, a, b, tests.labels, tests.ids if alone else tests.groups)


def _scored(result: Any, abnormal: str) -> Any:
    scored, tests = scores_of(result, abnormal, CLEAN)
    return anomaly_score(scored.test, result.manifest["alpha"]), tests


def primary(folder: str | Path | None = None) -> "Markdown":
    """Say what the two figures named beforehand say: CCB against plain skips, macro AUC under CLEAN."""
    from IPython.display import Markdown

    lines = []
    for setting in planned("skips"):
        found = differences("skips", setting, folder=folder) if setting in settings_run("skips", folder) else None
        row = None if found is None else found[(found["arm"] == "ccb") & (found["abnormal"] == "macro")]
        if row is None or row.empty:
            lines.append(
                f"- **{setting}: not run.** `ccb study skips --run --data {setting.dataset} --device cuda --fast` "
                f"trains {SEEDS['skips']} seeds of each arm."
            )
            continue
        lines.append(f"- **{setting}:** {in_words(row.iloc[0])}")
    return Markdown("\n".join(lines))


def in_words(row: Any) -> str:
    """Say one row of `differences` as a sentence."""
    seeds = f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")
    return (
        f"{row['arm']} is **{row['verdict']}**: {row['difference']:+.3f} (95 % interval {row['low']:+.3f} to "
        f"{row['high']:+.3f}, {seeds})."
    )


def skip_signal(number: int = 6, folder: str | Path | None = None) -> pd.DataFrame:
    """Read how large the signal was that each skip delivered while chains of different length trained.

    Args:
        number: Table 6 or 7, which share their runs.
        folder: Of the results.

    Returns:
        One row a run, epoch and skip: ``chain``, ``chain_init``, ``width``, ``epochs``, ``seed``, ``epoch``, ``skip``
        (1 is the shallowest), ``signal`` and ``gradient`` (root mean squares), ``similarity`` (the training loss of
        Eq. 5).
    """
    rows = []
    for result in read_results(number, folder).values():
        facts = result.manifest
        settings = facts["settings"]
        if "chain" not in settings:
            continue
        about = {"chain": "-".join(str(n) for n in settings["chain"]), "chain_init": settings.get("chain_init", "he"),
                 "width": settings.get("width", 64), "epochs": settings["epochs"], "seed": facts["seed"]}  # fmt: skip
        rows += [
            {**about, "epoch": line["epoch"], "skip": skip, "signal": line[f"skip {skip}"],
             "gradient": line[f"skip {skip} gradient"], "similarity": line["similarity"]}
            for line in facts["history"] for skip in range(1, 5) if f"skip {skip}" in line
        ]  # fmt: skip
    columns = ["chain", "chain_init", "width", "epochs", "seed", "epoch", "skip", "signal", "gradient", "similarity"]
    return pd.DataFrame(rows, columns=columns)


def chain_summary(signals: pd.DataFrame, number: int = 6, folder: str | Path | None = None) -> pd.DataFrame:
    """Lay beside each other what overfitting and a dead signal would show, one row a chain and start.

    Args:
        signals: Of `skip_signal`, of one width and number of epochs.
        number: Table 6 or 7.
        folder: Of the results.

    Returns:
        ``training loss`` (Eq. 5, last epoch), ``weakest skip`` and ``strongest skip`` (root mean squares, last epoch),
        and ``AUC``, the mean over classes and seeds under CLEAN.
    """
    last = signals[signals["epoch"] == signals["epochs"]]
    grouped = last.groupby(["chain_init", "chain"])
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    frame = frame.assign(width=frame["width"].fillna(64), chain_init=frame["chain_init"].fillna("he"))
    same = frame["width"].isin(last["width"]) & frame["epochs"].isin(last["epochs"])
    shown = pd.DataFrame(
        {
            "training loss": grouped["similarity"].mean().map("{:.4f}".format),
            "weakest skip": grouped["signal"].min().map("{:.2g}".format),
            "strongest skip": grouped["signal"].max().map("{:.2g}".format),
            "AUC": frame[same].groupby(["chain_init", "chain"])["auc"].mean().map("{:.3f}".format),
        }
    )
    chains = sorted(last["chain"].unique(), key=lambda chain: int(chain.split("-")[0]))
    order = [(start, chain) for start in ("he", "dcgan") for chain in chains if (start, chain) in shown.index]
    return shown.reindex(order).rename_axis(["chains from", "blocks"])
