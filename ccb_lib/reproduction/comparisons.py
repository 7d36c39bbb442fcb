"""Results of a study: the arms at each setting, and their differences over paired runs."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.metrics import Difference, Pair, anomaly_score, paired_differences, verdict
from ccb_lib.reproduction.defaults import default_of
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import TABLES
from ccb_lib.reproduction.results import at_settings, load_results, read_results, scores_of
from ccb_lib.reproduction.studies import EPOCHS, MARGIN, arm_of, arms

_SLICES = "lung_ct_98"


class Setting(NamedTuple):
    """The setting that all arms of a comparison share.

    Attributes:
        dataset: Name for `load_dataset`; ``lung_ct_98`` for the 98 CT slices.
        epochs: Epochs of training.
        width: Channels of the first convolution; ``None`` is the detectors' default, 64.
        limit: Largest number of images of each part; ``None`` is all.
    """

    dataset: str
    epochs: int
    width: int | None = None
    limit: int | None = None

    def __str__(self) -> str:
        own = (
            "each method's own width"
            if self.dataset == _SLICES
            else f"width {default_of('ccb', 'width')}"
        )
        words = [
            display_name(self.dataset),
            f"{self.epochs} epochs",
            f"width {self.width}" if self.width else own,
        ]
        return ", ".join(
            [*words, *([f"at most {self.limit} images of each part"] if self.limit else [])]
        )


def planned(study: str) -> list[Setting]:
    """List the settings planned for a study."""
    names = {name: _SLICES if study == "lung-ct-98" else name for name in TABLES[study].datasets}
    return [Setting(shown, EPOCHS[dataset]) for dataset, shown in names.items()]


def settings_run(study: str, folder: str | Path | None = None) -> list[Setting]:
    """List the settings at which at least two arms of a study were run, planned ones first."""
    frame = study_frame(study, folder)
    found = {
        Setting(
            line.dataset,
            int(line.epochs),
            *(None if pd.isna(v) else int(v) for v in (line.width, line.limit)),
        )
        for line in frame[frame["epochs"].notna()].itertuples()
    }
    found = {setting for setting in found if at_setting(frame, setting)["arm"].nunique() > 1}
    first = [setting for setting in planned(study) if setting in found]
    if len(frame) and frame["epochs"].isna().all():
        return planned(study)  # trivial scores have no epochs, so they belong to every setting
    return first + sorted(found - set(first), key=str)


def study_frame(study: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Return `load_results` of a study under CLEAN with a column ``arm``.

    Runs of other studies and runs on other splits are left out.
    """
    frame = load_results(study, protocols=(CLEAN,), folder=folder)
    results = read_results(study, folder)
    frame["arm"] = [arm_of(study, results[key].manifest) for key in frame["key"]]
    if study == "lung-ct-98":
        frame["dataset"] = _SLICES  # loaded with the name "ild", but a different data set
    other_split = ["split_seed" in str(words) for words in frame["other"]]
    return frame[frame["arm"].notna() & ~np.array(other_split, dtype=bool)]


def at_setting(frame: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Return the rows of `study_frame` with this setting."""
    settings = setting._asdict()
    return at_settings(frame[frame["dataset"] == settings.pop("dataset")], settings)


def arm_table(study: str, folder: str | Path | None = None) -> dict[Setting, pd.DataFrame]:
    """Make a table of a study's arms for each setting that was run.

    Returns:
        For each setting, a table with one row per arm. Columns are ``macro`` (the mean over
        classes) and the classes; cells are the mean AUC over seeds ± its standard deviation, as
        text. ``seeds`` is the number of seeds that have every class.
    """
    frame = study_frame(study, folder)
    return {
        setting: _table_of_arms(study, at_setting(frame, setting))
        for setting in settings_run(study, folder)
    }


def _table_of_arms(study: str, frame: pd.DataFrame) -> pd.DataFrame:
    wide = frame.pivot_table(index=["arm", "seed"], columns="abnormal", values="auc")
    if len(wide.columns) > 1:
        wide.insert(0, "macro", wide.mean(axis=1, skipna=False))  # first, to be visible on a phone
    grouped = wide.groupby("arm")
    mean, spread, seeds = (
        grouped.mean(),
        grouped.std(),
        wide.notna().all(axis=1).groupby("arm").sum(),
    )
    shown = mean.map("{:.3f}".format) + spread.map(lambda s: "" if pd.isna(s) else f" ± {s:.3f}")
    shown = shown.where(mean.notna(), "not run").assign(seeds=seeds)
    widths = frame["width"].dropna()
    known = arms(study, int(widths.iloc[0]) if len(widths) else None, former=True)
    return shown.reindex([arm for arm in known if arm in shown.index]).rename_axis(columns=None)


def differences(
    study: str,
    setting: Setting,
    *,
    reference: str = "identity",
    chosen: Sequence[str] | None = None,
    replicates: int = 1000,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Compare every arm of a study with a reference arm, over the seeds and classes of both.

    Args:
        study: One of `STUDIES`.
        setting: Setting of all arms.
        reference: The arm that the others are compared with.
        chosen: Some of the other arms; all by default.
        replicates: See `paired_differences`.
        folder: Folder of the results.

    Returns:
        One row an arm and ``abnormal`` (``"macro"``, then classes): ``difference`` in AUC, above 0
        where the arm is better than the reference; ``low``, ``high``, ``p``, ``adjusted_p``
        (corrected over the arm's classes, without the macro), ``sign_flip_p`` and ``seeds``, as in
        `Difference`; ``planned_seeds``; and the ``verdict`` against the margin, which is undecided
        with fewer than the planned seeds.

    Raises:
        ValueError: Two arms were tested on different images, or trained on different kinds of
            device or by different paths (plain or fast).
    """
    rows: list[dict[str, Any]] = []
    frame = at_setting(study_frame(study, folder), setting)
    results = read_results(study, folder)
    for arm in arms(study, setting.width, former=True):
        if arm == reference or (chosen is not None and arm not in chosen):
            continue
        pairs = list(_pairs(frame, results, arm, reference))
        if not pairs:
            continue
        for name, difference in paired_differences(pairs, replicates=replicates).items():
            row = difference._asdict()
            said = verdict(difference, MARGIN, TABLES[study].seeds)
            rows.append(
                {
                    "arm": arm,
                    "abnormal": name,
                    "difference": row.pop("estimate"),
                    **row,
                    "verdict": said,
                }
            )
    frame = pd.DataFrame(
        rows, columns=["arm", "abnormal", "difference", *Difference._fields[1:], "verdict"]
    )
    return frame.assign(planned_seeds=TABLES[study].seeds)


def _pairs(frame: pd.DataFrame, results: Any, arm: str, reference: str) -> Iterator[Pair]:
    """Pair the runs of two arms, over the seeds that have every class of both arms."""
    keys = {
        name: frame[frame["arm"] == name].set_index(["seed", "abnormal"])["key"]
        for name in (arm, reference)
    }
    cells = keys[arm].index.intersection(keys[reference].index)
    classes, seeds = cells.unique("abnormal"), cells.unique("seed")
    whole = [seed for seed in seeds if all((seed, name) in cells for name in classes)]
    for seed, name in product(whole, classes):
        one, other = (results[keys[which][seed, name]] for which in (arm, reference))
        (a, tests), (b, others) = _scored(one, name), _scored(other, name)
        if tests.key != others.key or _device_and_path(one) != _device_and_path(other):
            ways = f"{_device_and_path(one)}, {_device_and_path(other)}"
            raise ValueError(
                f"{arm} and {reference}, seed {seed}, {name}: tested on different images, or "
                f"trained in different ways ({ways}). Run both on the same images in the same way."
            )
        # Images of one patient or lesion are not independent, so they are resampled together. On
        # CIFAR-10 every image is a group of its own.
        groups = tests.ids if one.manifest["dataset"] == "cifar10" else tests.groups
        yield Pair(seed, name, a, b, tests.labels, groups)


def _device_and_path(result: Any) -> str:
    """Return the kind of device and the path; both change numbers slightly, so arms must agree."""
    on = "CPU" if result.manifest["device"].startswith("CPU") else "GPU"
    return f"{on}, {'fast' if result.manifest['fast'] else 'plain'}"


def _scored(result: Any, abnormal: str) -> Any:
    scored, tests = scores_of(result, abnormal, CLEAN)
    return anomaly_score(scored.test, result.manifest["alpha"]), tests
