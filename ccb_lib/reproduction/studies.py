"""Studies beyond the paper's tables: arms that differ in one setting.

Arms, classes, epochs and margin were fixed before any run.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.models.ccb import LEVELS, Generator, count_parameters
from ccb_lib.reproduction.defaults import as_json, default_of, non_default, options_of, seed_list
from ccb_lib.reproduction.registry import STUDIES, TABLES, TRIVIAL_METHODS
from ccb_lib.reproduction.runs import Run

EPOCHS = {"cifar10": 15, "ham10000": 50, "ild": 50}
MARGIN = 0.02  # of macro AUC; arms whose difference lies within it are called equal
_WIDTH = default_of("ccb", "width")
_NO_SKIP = (None,) * LEVELS
_PLAIN = (0,) * LEVELS


@cache
def wide_as_chains(width: int = _WIDTH) -> int | None:
    """Return the width at which a generator with plain skips has as many parameters as CCB.

    Args:
        width: Width of CCB.

    Returns:
        The width, or ``None`` if no width comes within 3 %.
    """
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
    """List the arms of a study with the settings in which each differs from the first arm, CCB.

    Args:
        study: ``"skips"``, kinds of skip connections; ``"ablation"``, CCB without one of its
            parts; ``"lung-ct-98"``, all methods on 98 CT slices.
        width: Channels of the first convolution. The arm ``wide identity`` depends on it, and does
            not exist where no width comes within 3 % of CCB's parameters, as below 8.
        former: Include arms that were run and are no longer planned.

    Raises:
        ValueError: There is no such study.
    """
    if study not in STUDIES:
        raise ValueError(f"study={study!r} given; there are {', '.join(STUDIES)}.")
    if study == "lung-ct-98":
        return {method: {} for method in TABLES[study].methods}
    if study == "skips":
        wide = wide_as_chains(width or _WIDTH)
        # At this start a chain returns several times its input.
        started_large = {"residual, He start": {"chain_residual": True}}
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
    """List the runs of a study by seed, so that an interrupted study has complete pairs of arms.

    Skips and ablation are trained on CIFAR-10 and on HAM10000 with nevi only as normal, and scored
    under CLEAN. A seed is that of the weights, of the order of images and, except on CIFAR-10, of
    the split.

    Args:
        study: One of `STUDIES`.
        datasets: Some of its data sets; all by default.
        chosen: Some of its arms, also former ones; all planned arms by default.
        seeds: A list of seeds, or their number n for seeds 0 … n − 1; the planned number by
            default.
        epochs: Epochs of training; by default those fixed for each data set.
        width: Channels of the first convolution; the detectors' own by default.
        limit: See `Run`.
        split_seed: Seed of the split of every run; see `ccb_lib.reproduction.runs.table_runs`.

    Raises:
        ValueError: The study, a data set or an arm is unknown.
    """
    known, spec = arms(study, width, former=True), TABLES[study]
    for what, given, there in (("arm", chosen, known), ("data set", datasets, spec.datasets)):
        if unknown := set(given or ()) - set(there):
            raise ValueError(f"{study} has no {what} {sorted(unknown)}; it has {', '.join(there)}.")
    runs = []
    for seed in seed_list(spec.seeds if seeds is None else seeds):
        for dataset in datasets or spec.datasets:
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
    classes = TABLES[study].classes[dataset]
    tests = [(name,) for name in classes] if dataset == "cifar10" else [classes]
    return [
        Run(dataset=dataset, method=method, abnormal=test, seed=seed, settings=settings,
            options=options, limit=limit, protocols=(CLEAN,))
        for test in tests
    ]  # fmt: skip


def arm_of(study: str, manifest: Mapping[str, Any]) -> str | None:
    """Return the arm of a stored run, also a former one; ``None`` if the study has no such arm."""
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
