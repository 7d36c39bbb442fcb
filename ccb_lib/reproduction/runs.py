"""Tables 1–7 as grids of runs: what is trained, and under which protocols it is scored."""

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
from ccb_lib.reproduction.registry import table_spec
from ccb_lib.reproduction.store import Result, key_of, scored_name

# All protocols between RELEASED and CLEAN, and each single change.
AUDIT = (CLEAN, RELEASED, *STEPS_TO_CLEAN[1:-1], *SINGLE_CHANGES)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training and its tests.

    Attributes:
        dataset: Name for `load_dataset`.
        method: Name in `METHODS`.
        abnormal: The classes it is tested on, each separately. On HAM10000 and ILD the normal
            training images do not depend on the abnormal class, so one training serves all
            classes. On CIFAR-10 each class needs a training.
        seed: Seed of the weights and of the order of images.
        settings: Settings of the detector, such as ``epochs``.
        options: Options of the data set, such as ``normal`` or the ``seed`` of the split.
        limit: Largest number of images of each part, for trials; ``None`` for tables.
        protocols: Protocols it is scored under. They are not part of the key.
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
        """The facts that identify the run, as JSON."""
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
        """The hash of `identity`, 16 hexadecimal digits."""
        return key_of(self.identity)

    def __str__(self) -> str:
        chain = f" {self.settings['chain']}" if "chain" in self.settings else ""
        return f"{self.dataset} {self.method}{chain} {'+'.join(self.abnormal)} seed {self.seed}"


def protocols_of(dataset: str, method: str, seed: int) -> tuple[Protocol, ...]:
    """List the protocols under which a table's run is scored.

    On CIFAR-10 U-Nets of seed 0 are scored under every protocol between RELEASED and CLEAN. On
    HAM10000 and ILD, which have fewer images, all networks are scored under all protocols except
    those that need an additional pass after each epoch. There RELEASED tests on a balanced draw of
    the held-out normal images, so it is scored on several draws; on CIFAR-10 it tests on all of
    them. AnoGAN's search is too slow for more than two protocols, and trivial scores are the same
    under every protocol.
    """
    cls = METHODS[method]
    if not cls.scores_each_epoch:
        return (CLEAN, RELEASED)
    if dataset == "cifar10":
        audited = seed == 0 and issubclass(cls, UNetDetector)
        return AUDIT if audited else (CLEAN, RELEASED, LAST_EPOCH)
    return (CLEAN, RELEASED, *STEPS_TO_CLEAN[1:-1], CLEAN_BEST_EPOCH, *RELEASED_DRAWS)


def store_path(table: int | str, folder: str | Path | None = None) -> Path:
    """Return the file of results of a table, 1 to 7, or a study; in ``data/results`` by default."""
    return Path(folder or results_folder()) / f"{table_spec(table).file}.safetensors"


def work_folder(path: Path, work: str | Path | None = None) -> Path:
    """Return the folder of checkpoints of a store: beside the store, or a folder in ``work``."""
    return (
        path.with_name(f".{path.stem}.runs") if work is None else Path(work) / f"{path.stem}.runs"
    )


def results_folder() -> Path:
    """Return ``data/results`` of the checkout, else of a parent folder, else of the package."""
    for folder in (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "data" / "results").is_dir():
            return folder / "data" / "results"
    return project_data("results")


def results_to_write(folder: str | Path | None = None) -> Path:
    """Return the folder that receives results: ``folder``, else that of `results_folder`.

    Raises:
        ValueError: It lies in the installed package, whose files must not change.

    Example:
        >>> results_to_write("my-results").name
        'my-results'
    """
    found = Path(folder or results_folder())
    if found.resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        raise ValueError(
            f"The results at {found} belong to the installed package and are only read. Give a "
            "folder of your own with --results."
        )
    return found


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
        methods: Names in `METHODS`; by default the paper's five, ``ccb-fork`` and the trivial
            scores, and in Tables 6–7 only CCB.
        abnormal: Abnormal classes of the table; all by default.
        datasets: Data sets of the table; all by default.
        seeds: A list of seeds, or their number n for seeds 0 … n − 1. A seed is that of the
            weights, of the order of images and, except on CIFAR-10, of the split. Trivial scores
            on CIFAR-10 have seed 0 only.
        epochs: Epochs of training; 50 in the paper.
        limit: See `Run`.
        image_size: 32, 64 or 128, where the data set has more than one.
        normal: Normal classes of HAM10000 if not the paper's; ``"nv"`` for nevi only.
        test_limit: Largest number each of normal test images, abnormal images and calibration
            images, for methods whose scoring takes hours. Training does not depend on it.
        split_seed: Seed of the split of every run, so that only the start differs between seeds;
            by default, except on CIFAR-10, each run's own seed.
        **settings: Further settings of the detectors that have them, such as ``width`` or
            ``similarity``.

    Raises:
        ValueError: The table, a method, a class or a data set is unknown.
    """
    spec = table_spec(table, paper=True)
    for what, given, there in (
        ("method", methods, tuple(METHODS)),
        ("class", abnormal, spec.all_classes),
        ("data set", datasets, spec.datasets),
    ):
        if unknown := set(given or ()) - set(there):
            raise ValueError(
                f"Table {table} has no {what} {sorted(unknown)}; it has {', '.join(there)}."
            )
    runs = []
    for dataset in (name for name in spec.datasets if datasets is None or name in datasets):
        classes = tuple(
            name for name in spec.classes[dataset] if abnormal is None or name in abnormal
        )
        # Only on CIFAR-10 do the training images depend on the abnormal class.
        tests = (
            [(name,) for name in classes] if dataset == "cifar10" else [classes] if classes else []
        )
        for seed in seed_list(seeds):
            for method in methods or spec.methods:
                fields = METHODS[method].__dataclass_fields__
                own = {
                    k: v
                    for k, v in {"epochs": epochs, **non_default(method, settings)}.items()
                    if k in fields
                }
                if "epochs" not in fields and seed > 0 and dataset == "cifar10":
                    continue  # a seed changes nothing: there are no weights, and the split is fixed
                for chain in spec.chains or (None,):
                    # The RMS of the chains' outputs is logged: it may explain differences between
                    # chains.
                    with_chain = {**own, "chain": chain, "log_skips": True} if chain else own
                    chosen = {"image_size": image_size, "normal": normal, "test_limit": test_limit}
                    options = options_of(dataset, method, seed, split_seed, **chosen)
                    protocols = protocols_of(dataset, method, seed)
                    runs += [
                        Run(dataset=dataset, method=method, abnormal=test, seed=seed,
                            settings=with_chain, limit=limit, options=options, protocols=protocols)
                        for test in tests
                    ]  # fmt: skip
    return runs


def missing_protocols(run: Run, result: Result) -> list[Protocol]:
    """List the protocols of a run for which its stored result has no scores.

    Args:
        run: The run.
        result: The result stored under the run's key.
    """
    return [
        protocol
        for protocol in run.protocols
        if any(scored_name(name, protocol) not in result.scored for name in run.abnormal)
    ]
