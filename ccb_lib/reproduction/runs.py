"""Tables 1–7 as grids of runs: what there is to train, and under which protocols it is tested."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccb_lib.detectors import METHODS
from ccb_lib.detectors.unet import UNetDetector
from ccb_lib.evaluation.protocols import (
    CLEAN,
    CLEAN_BEST_EPOCH,
    LAST_EPOCH,
    RELEASED,
    RELEASED_DRAWS,
    SINGLE_CHANGES,
    STEPS_TO_CLEAN,
    Protocol,
)
from ccb_lib.io.project_data import project_data
from ccb_lib.reproduction.defaults import as_json, non_default, options_of, seed_list
from ccb_lib.reproduction.store import Result, key_of, scored_name

PAPER_METHODS = ("anogan", "egbad", "ganomaly", "skip-ganomaly", "ccb")
NETWORK_METHODS = (
    *PAPER_METHODS,
    "ccb-fork",
)  # and the likeliest original, of which nothing is reported
TRIVIAL_METHODS = ("pca", "mean-intensity", "png-bytes", "nearest-neighbours")
CHAINS = ((4, 3, 2, 1), (8, 6, 4, 2), (16, 12, 8, 4), (24, 18, 12, 6), (32, 24, 16, 8))
CLASSES = {
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    "ild": ("fibrosis", "micronodules", "emphysema", "ground_glass"),
    "ham10000": ("akiec", "bcc", "df", "vasc"),
}
DATASETS = {
    1: ("cifar10",),
    **dict.fromkeys((2, 3), ("ild",)),
    **dict.fromkeys((4, 5), ("ham10000",)),
    **dict.fromkeys((6, 7), ("ild", "ham10000")),
    **dict.fromkeys(("skips", "ablation"), ("cifar10", "ham10000")),
    "lung-ct-98": ("ild",),
}
AUDIT = (
    CLEAN,
    RELEASED,
    *STEPS_TO_CLEAN[1:-1],
    *SINGLE_CHANGES,
)  # every step from one to the other
RESULT_FILES = {
    1: "table1",
    **dict.fromkeys((2, 3), "tables2-3"),
    **dict.fromkeys((4, 5), "tables4-5"),
    **dict.fromkeys((6, 7), "tables6-7"),
    **dict.fromkeys(("skips", "ablation"), "studies"),
    "lung-ct-98": "lung-ct-98",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training, and the tests that follow from it.

    Attributes:
        dataset: As `load_dataset` knows it.
        method: As `METHODS` knows it.
        abnormal: The classes it is tested on, each for itself. HAM10000 and ILD train on the same normals whichever is
            abnormal, so one training serves them all; CIFAR-10 trains anew for each.
        seed: Of weights and order.
        settings: Of the detector, such as ``epochs``.
        options: Of the data set, such as ``normal`` or the split's own ``seed``.
        limit: Use at most so many images of each part; for trying things out, never for a table.
        protocols: What it is scored under; no part of what makes the run what it is.
    """

    dataset: str
    method: str
    abnormal: tuple[str, ...]
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    protocols: tuple[Protocol, ...] = (CLEAN, RELEASED)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes the run what it is, as JSON."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "abnormal": list(self.abnormal),
            "seed": self.seed,
            "settings": as_json(self.settings),
            "options": as_json(self.options),
            "limit": self.limit,
        }

    @property
    def key(self) -> str:
        """16 hexadecimal digits from `identity`."""
        return key_of(self.identity)

    def __str__(self) -> str:
        chain = f" {self.settings['chain']}" if "chain" in self.settings else ""
        return f"{self.dataset} {self.method}{chain} {'+'.join(self.abnormal)} seed {self.seed}"


def feeding(protocol: Protocol) -> str:
    """Name what decides the scores: protocols that agree in it share stored terms. φ is set later, from these."""
    if protocol.batch_norm != "batch":
        return f"{protocol.batch_norm}, {protocol.epoch}"  # order and company do not matter
    return ", ".join(
        [protocol.batch_norm, "dropout" if protocol.dropout else "no dropout", protocol.order,
         str(protocol.batch_size), protocol.epoch]
    )  # fmt: skip


def kind(protocol: Protocol) -> str:
    """Which test set a protocol uses: the released loop its own balanced one, the clean ones all held-out normals.

    All images of every balanced set are in the natural one too, so the clean scores of any of them are there.
    """
    if protocol.batch_norm != "batch":
        return "natural"
    return f"as released, draw {protocol.draw}" if protocol.draw else "as released"


def protocols_of(table: int, dataset: str, method: str, seed: int) -> tuple[Protocol, ...]:
    """List what a table's run is scored under.

    Table 1 is audited: U-Nets of seed 0 take every step from RELEASED to CLEAN. On HAM10000 and ILD, which have fewer
    images, all networks take all steps but those that need a pass of their own after each epoch; and there RELEASED
    tests on a balanced draw of the held-out normals, so it is scored on several. CIFAR-10 tests it on all normals.
    AnoGAN's search is too dear, and trivial scores are the same under every protocol.
    """
    cls = METHODS[method]
    if not cls.scores_each_epoch:
        return (CLEAN, RELEASED)
    if seed == 0 and table == 1 and issubclass(cls, UNetDetector):
        return AUDIT
    if dataset == "cifar10":
        return (CLEAN, RELEASED, LAST_EPOCH)
    return (CLEAN, RELEASED, *STEPS_TO_CLEAN[1:-1], CLEAN_BEST_EPOCH, *RELEASED_DRAWS)


def store_path(table: int | str, folder: str | Path | None = None) -> Path:
    """Where the results of a table, 1 to 7, or of a study lie: ``data/results`` of the book by default."""
    return Path(folder or results_folder()) / f"{RESULT_FILES[table]}.safetensors"


def work_folder(path: Path, work: str | Path | None = None) -> Path:
    """Return where checkpoints of a store's runs lie: beside the store, or in a folder under ``work``."""
    return (
        path.with_name(f".{path.stem}.runs") if work is None else Path(work) / f"{path.stem}.runs"
    )


def results_folder() -> Path:
    """Return ``data/results`` of a checkout, else the nearest upwards of here, else that of the installed package."""
    for folder in (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "data" / "results").is_dir():
            return folder / "data" / "results"
    return project_data("results")


def table_runs(
    table: int,
    *,
    methods: Sequence[str] | None = None,
    abnormal: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 1,
    epochs: int = 50,
    limit: int | None = None,
    image_size: int | None = None,
    normal: str | None = None,
    test_limit: int | None = None,
    split_seed: int | None = None,
    **settings: Any,
) -> list[Run]:
    """List the runs of a table.

    Args:
        table: 1 to 7.
        methods: Of `METHODS`; the paper's five, ``ccb-fork`` and the trivial scores by default, CCB alone in
            Tables 6–7.
        abnormal: Some of the table's classes; all by default.
        datasets: Some of the table's data sets; all by default.
        seeds: A list of seeds, or a number of them: seeds 0 … ``seeds`` − 1. Of weights and order, and of the split
            but on CIFAR-10; trivial scores have seed 0 alone there.
        epochs: Of training; the paper's are 50.
        limit: See `Run`.
        image_size: 32, 64 or 128, where the data set has more than one.
        normal: HAM10000's normal classes where not the paper's; ``"nv"`` for nevi alone.
        test_limit: Score at most so many test normals, abnormal images and calibration images, for methods whose
            scoring takes hours. Training is as without it.
        split_seed: Of the split of every run, so that starts alone differ; by default each seed is its
            split's too, but on CIFAR-10.
        **settings: Further settings of the detectors that have them, such as ``width`` or ``similarity``.

    Raises:
        ValueError: An unknown table, method or class.
    """
    if table not in DATASETS:
        raise ValueError(f"table={table} given; the paper has Tables 1 to 7.")
    chains: tuple = CHAINS if table >= 6 else (None,)
    methods = tuple(methods or (("ccb",) if table >= 6 else (*NETWORK_METHODS, *TRIVIAL_METHODS)))
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"Unknown methods {sorted(unknown)}; there are {', '.join(METHODS)}.")
    known = [name for dataset in DATASETS[table] for name in CLASSES[dataset]]
    if unknown := set(abnormal or ()) - set(known):
        raise ValueError(
            f"Table {table} has no class {sorted(unknown)}; it has {', '.join(known)}."
        )
    if unknown := set(datasets or ()) - set(DATASETS[table]):
        raise ValueError(
            f"Table {table} has no data set {sorted(unknown)}; it has {', '.join(DATASETS[table])}."
        )
    runs = []
    for dataset in (name for name in DATASETS[table] if datasets is None or name in datasets):
        classes = tuple(name for name in CLASSES[dataset] if abnormal is None or name in abnormal)
        # What training sees differs with the class on CIFAR-10 alone.
        tests = (
            [(name,) for name in classes] if dataset == "cifar10" else [classes] if classes else []
        )
        for seed in seed_list(seeds):
            for method in methods:
                fields = METHODS[method].__dataclass_fields__
                own = {
                    k: v
                    for k, v in {"epochs": epochs, **non_default(method, settings)}.items()
                    if k in fields
                }
                if "epochs" not in fields and seed > 0 and dataset == "cifar10":
                    continue  # nothing that a seed could change: no weights, and a split that is given
                for chain in chains:
                    # Why a longer chain is worse, if it is, shows in the signal that it passes on.
                    with_chain = {**own, "chain": chain, "log_skips": True} if chain else own
                    runs += [
                        Run(dataset=dataset, method=method, abnormal=test, seed=seed, settings=with_chain, limit=limit,
                            options=options_of(dataset, method, seed, split_seed, image_size=image_size,
                                               normal=normal, test_limit=test_limit),
                            protocols=protocols_of(table, dataset, method, seed))
                        for test in tests
                    ]  # fmt: skip
    return runs


def missing_protocols(run: Run, result: Result) -> list[Protocol]:
    """List the protocols that a run is to be scored under and a stored result has no scores for.

    Args:
        run: What is wanted.
        result: What is stored under the run's key.
    """
    return [
        protocol
        for protocol in run.protocols
        if any(
            scored_name(name, kind(protocol), feeding(protocol)) not in result.scored
            for name in run.abnormal
        )
    ]


def is_imposed(method: str, dataset: str) -> bool:
    """Tell whether RELEASED is a test that a method's own public code does not make on such images.

    EGBAD and AnoGAN test in inference mode. GANomaly's own repository leaves CIFAR-10 in order, but shuffles images
    that come in folders; only the copy of GANomaly that is bundled with Skip-GANomaly shuffles neither.

    Example:
        >>> is_imposed("ganomaly", "ham10000"), is_imposed("ganomaly", "cifar10")
        (True, False)
    """
    return not METHODS[method].released_in_train_mode or (
        method == "ganomaly" and dataset != "cifar10"
    )
