"""Defaults of settings and options, and the non-default ones, which identify a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from ccb_lib.detectors import METHODS


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name as a stored run has them: sorted, tuples as lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(settings.items())
    }


def default_of(method: str, choice: str) -> Any:
    """What a method, or a data set, takes where a choice is not named; ``None`` where it knows no such choice."""
    of_images = {"image_size": 32, "normal": "nv+bkl+mel"}
    field = METHODS[method].__dataclass_fields__.get(choice)
    return of_images.get(choice, field and field.default)


def non_default(method: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is ``None`` and what goes without saying: said aloud or not, it makes the same run."""
    said = {name: value for name, value in choices.items() if value is not None}
    return {
        name: value
        for name, value in said.items()
        if name == "epochs" or value != default_of(method, name)
    }


def options_of(
    dataset: str, method: str, seed: int, split_seed: int | None = None, **chosen: Any
) -> dict[str, Any]:
    """Choose the split; ``None`` is a default.

    CIFAR-10's makers fixed its test images; which normals calibrate follows ``split_seed``, 0 by default. The other
    data sets' splits follow ``split_seed``, by default the run's own seed.
    """
    normal = chosen.pop("normal", None)
    if dataset == "ham10000" and normal is not None:
        chosen["normal"] = "+".join(
            sorted(normal.split("+"), key="nv bkl mel".find)
        )  # order makes no other run
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
