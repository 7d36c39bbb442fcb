"""Folders of the project's own data: reported tables, results, trained detectors, trials."""

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
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
        FileNotFoundError: The folder is in neither place, or the installed package lacks a file
            that its wheel contained. A lost result must not be taken for one that was not run.

    Examples:
        >>> (project_data("paper") / "table1.csv").is_file()
        True
    """
    if name not in NAMES:
        raise ValueError(f"name={name!r} given; one of {NAMES} is needed.")
    package = Path(__file__).parents[1]
    places = (package.parent / "data" / name, package / "data" / name)
    if places[0].is_dir():
        return places[0]
    if places[1].is_dir():
        if lost := _lost(name):
            raise FileNotFoundError(
                f"{places[1]} lacks {', '.join(lost)}. Reinstall ccb_lib from its wheel."
            )
        return places[1]
    raise FileNotFoundError(
        f"data/{name} is neither at {places[0]} nor at {places[1]}. Reinstall ccb_lib, or take "
        f"data/{name} from its repository."
    )


@lru_cache
def _lost(name: str) -> tuple[str, ...]:
    """List the files of a folder that were installed from the wheel and are no longer there."""
    try:
        installed = files("ccb-lib") or []
    except PackageNotFoundError:
        return ()
    own = [file for file in installed if file.as_posix().startswith(f"ccb_lib/data/{name}/")]
    return tuple(file.name for file in own if not Path(file.locate()).is_file())
