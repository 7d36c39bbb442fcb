"""Defaults of settings and options, and the non-default ones, which identify a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from ccb_lib.datasets import ham10000
from ccb_lib.detectors import METHODS


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form of a stored run: sorted by name, tuples as lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(settings.items())
    }


def default_of(method: str, choice: str) -> Any:
    """Return the default of a setting or image option; ``None`` if the method does not have it.

    >>> default_of("ccb", "image_size")
    32
    """
    of_images = {"image_size": 32, "normal": "+".join(ham10000.NORMAL)}
    field = METHODS[method].__dataclass_fields__.get(choice)
    return of_images.get(choice, field and field.default)


def non_default(method: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices that are neither ``None`` nor the default.

    Giving a default explicitly must not change a run's key. ``epochs`` is always kept.

    >>> non_default("ccb", {"epochs": 50, "width": None, "image_size": 32})
    {'epochs': 50}
    """
    given = {name: value for name, value in choices.items() if value is not None}
    return {
        name: value
        for name, value in given.items()
        if name == "epochs" or value != default_of(method, name)
    }


def options_of(
    dataset: str, method: str, seed: int, split_seed: int | None = None, **chosen: Any
) -> dict[str, Any]:
    """Return the options of a run's data set: the split's seed and non-default choices.

    The test images of CIFAR-10 are fixed; ``split_seed`` chooses its calibration images, 0 by
    default. On other data sets ``split_seed`` chooses the whole split, by default the run's own
    seed.

    Args:
        dataset: Name for `load_dataset`.
        method: Name in `METHODS`.
        seed: Seed of the run.
        split_seed: Seed of the split; ``None`` is the default.
        **chosen: Image options; ``None`` is the default.
    """
    normal = chosen.pop("normal", None)
    if dataset == "ham10000" and normal is not None:
        # The order of the classes must not change the key.
        chosen["normal"] = "+".join(sorted(normal.split("+"), key=" ".join(ham10000.NORMAL).find))
    of_split = {"seed": seed if split_seed is None else split_seed}
    if dataset == "cifar10" and not split_seed:
        of_split = {}
    return of_split | non_default(method, chosen)


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """Return seeds as a list: a number n stands for 0 … n − 1.

    >>> seed_list(3), seed_list([4, 5])
    ([0, 1, 2], [4, 5])
    """
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)
