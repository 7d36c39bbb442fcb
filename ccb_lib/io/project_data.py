"""Folders of the project's own data: reported tables, results, trained detectors, trials."""

from pathlib import Path

NAMES = ("paper", "results", "models", "trials")


def project_data(name: str) -> Path:
    """Return a folder of the project's own data, in a checkout or in the installed package.

    Args:
        name: ``"paper"`` (the reported tables), ``"results"`` (measured results), ``"models"``
            (trained detectors) or ``"trials"`` (measured with other code).

    Returns:
        ``data/NAME`` beside the package in a checkout, else ``ccb_lib/data/NAME``, which is part of
        the wheel.

    Raises:
        ValueError: ``name`` has another value.
        FileNotFoundError: The folder is in neither place.

    Examples:
        >>> (project_data("paper") / "table1.csv").is_file()
        True
    """
    if name not in NAMES:
        raise ValueError(f"name={name!r} given; one of {NAMES} is needed.")
    package = Path(__file__).parents[1]
    places = (package.parent / "data" / name, package / "data" / name)
    for folder in places:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"data/{name} is neither at {places[0]} nor at {places[1]}. Reinstall ccb_lib, or take "
        f"data/{name} from its repository."
    )
