"""Studies beyond the paper's tables: arms that share one recipe and differ in one thing.

What is compared was fixed before anything was run: the arms, the classes, the epochs, the margin.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.models.ccb import LEVELS, Generator, count_parameters
from ccb_lib.reproduction.defaults import as_json, default_of, non_default, options_of, seed_list
from ccb_lib.reproduction.runs import CLASSES, NETWORK_METHODS, TRIVIAL_METHODS, Run

STUDIES = ("skips", "ablation", "lung-ct-98")
EPOCHS = {"cifar10": 15, "ham10000": 50, "ild": 50}
MARGIN = 0.02  # of macro AUC: within it, two arms are called equal
SEEDS = {"skips": 8, "ablation": 1, "lung-ct-98": 1}
_WIDTH = default_of("ccb", "width")
_CLASSES = {
    "skips": {"cifar10": CLASSES["cifar10"], "ham10000": CLASSES["ham10000"]},
    "ablation": {"cifar10": ("bird", "truck"), "ham10000": CLASSES["ham10000"]},
    "lung-ct-98": {"ild": ("ground_glass",)},
}
_NO_SKIP = (None,) * LEVELS
_PLAIN = (0,) * LEVELS


@cache
def wide_as_chains(width: int = _WIDTH) -> int | None:
    """Return the width that gives a generator with plain skips as many parameters as CCB's has, within 3 %, if any."""
    with torch.device("meta"):
        wanted = count_parameters(Generator(3, width))
        sizes = {
            w: count_parameters(Generator(3, w, _PLAIN))
            for w in range(width, width + max(2, width // 4) + 1)
        }
    nearest = min(sizes, key=lambda w: abs(sizes[w] - wanted))
    return nearest if abs(sizes[nearest] / wanted - 1) <= 0.03 else None


def arms(
    study: str, width: int | None = None, *, former: bool = False
) -> dict[str, dict[str, Any]]:
    """List the arms of a study: the settings in which each differs from CCB, the first arm.

    Args:
        study: ``"skips"``: what a skip is made of. ``"ablation"``: what CCB's parts are worth. ``"lung-ct-98"``: the
            methods themselves, on 98 real CT slices.
        width: Channels of the first convolution, which decides how much wider the arm ``wide identity`` is. Where no
            width comes within 3 % of CCB's parameters, as below 8, there is no such arm.
        former: List arms that were run and are no longer planned as well.

    Raises:
        ValueError: No such study.
    """
    if study not in STUDIES:
        raise ValueError(f"study={study!r} given; there are {', '.join(STUDIES)}.")
    if study == "lung-ct-98":
        return {method: {} for method in (*NETWORK_METHODS, *TRIVIAL_METHODS)}
    if study == "skips":
        wide = wide_as_chains(width or _WIDTH)
        started_large = {
            "residual, He start": {"chain_residual": True}
        }  # with several times its input
        return {
            "ccb": {},
            "identity": {"chain": _PLAIN},
            "none": {"chain": _NO_SKIP},
            **({"wide identity": {"chain": _PLAIN, "generator_width": wide}} if wide else {}),
            "residual": {"chain_residual": True, "chain_residual_start": "zero"},
            **(started_large if former else {}),
        }
    return {
        "ccb": {},
        "no dropout": {"dropout": 0.0},
        "batch norm in chains": {"chain_batch_norm": True},
        "no similarity loss": {"loss_weights": (0.0, 1.0, 1.0)},
        "no adversarial loss": {"loss_weights": (50.0, 0.0, 1.0)},
        "no latent loss": {"loss_weights": (50.0, 1.0, 0.0)},
    }


def runs_of(
    study: str,
    *,
    datasets: Sequence[str] | None = None,
    chosen: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    epochs: int | None = None,
    width: int | None = None,
    limit: int | None = None,
    split_seed: int | None = None,
) -> list[Run]:
    """List the runs of a study, seed by seed, so that a study stopped half-way has whole pairs.

    Skips and ablation are trained on CIFAR-10 and on HAM10000 with nevi alone as normal, and scored under CLEAN.
    A seed decides a run's weights and order, and on HAM10000 and CT its split as well; CIFAR-10's is always the same.

    Args:
        study: Of `STUDIES`.
        datasets: Some of its data sets; all by default.
        chosen: Some of its arms, former ones too; all that are planned by default.
        seeds: A list of seeds, or a number of them: seeds 0 … ``seeds`` − 1; by default as many as were planned.
        epochs: Of training; by default those fixed for each data set.
        width: Channels of the first convolution; the detectors' own by default.
        limit: See `Run`.
        split_seed: Of the split of every run, so that starts alone differ; see `grid`.

    Raises:
        ValueError: An unknown study, data set or arm.
    """
    known, classes = arms(study, width, former=True), _CLASSES.get(study, {})
    for what, given, there in (("arm", chosen, known), ("data set", datasets, classes)):
        if unknown := set(given or ()) - set(there):
            raise ValueError(f"{study} has no {what} {sorted(unknown)}; it has {', '.join(there)}.")
    runs = []
    for seed in seed_list(SEEDS[study] if seeds is None else seeds):
        for dataset in datasets or classes:
            options = options_of(
                dataset,
                "ccb",
                seed,
                split_seed,
                normal="nv",
                source="lung_ct_98" if study == "lung-ct-98" else None,
            )
            for arm in chosen or arms(study, width):
                runs += _runs(study, dataset, arm, known[arm], seed, options, epochs, width, limit)
    return runs


def _runs(
    study: str, dataset: str, arm: str, own: Mapping[str, Any], seed: int, options: dict[str, Any],
    epochs: int | None, width: int | None, limit: int | None,
) -> list[Run]:  # fmt: skip
    method = arm if study == "lung-ct-98" else "ccb"
    settings = dict(own)
    if method not in TRIVIAL_METHODS:
        settings |= {"epochs": epochs or EPOCHS[dataset], **non_default(method, {"width": width})}
    classes = _CLASSES[study][dataset]
    tests = [(name,) for name in classes] if dataset == "cifar10" else [classes]
    return [
        Run(dataset=dataset, method=method, abnormal=test, seed=seed, settings=settings, options=options, limit=limit,
            protocols=(CLEAN,))
        for test in tests
    ]  # fmt: skip


def arm_of(study: str, manifest: Mapping[str, Any]) -> str | None:
    """Name the arm of a study that a stored run belongs to, a former one too; ``None`` if to none."""
    if study == "lung-ct-98":
        return manifest["method"]
    own = {
        name: value
        for name, value in manifest["settings"].items()
        if name not in ("epochs", "width")
    }
    width = manifest["settings"].get("width")
    for arm, settings in arms(study, width, former=True).items():
        if own == as_json(settings):
            return arm
    return None
