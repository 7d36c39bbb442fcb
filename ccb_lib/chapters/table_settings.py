"""The settings at which the tables were run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ccb_lib.evaluation.protocols import CLEAN
from ccb_lib.reproduction.registry import TRIVIAL_METHODS
from ccb_lib.reproduction.results import load_results
from ccb_lib.reproduction.settings import CHOICES, PAPER, at_settings, of_images
from ccb_lib.reproduction.tables import select


def settings_run(number: int, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the settings at which a table was run, those of the paper first.

    Args:
        number: Table 1 to 7.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Settings as `at_settings` takes them. ``None`` is the default of a setting. ``epochs`` is
        ``None`` for images on which only trivial scores were run, since these have no epochs.

    Example:
        >>> settings_run(4)[0] == PAPER
        True
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)[list(CHOICES)].drop_duplicates()
    found = [
        {name: None if pd.isna(value) else value for name, value in line.items()}
        for line in frame.to_dict("records")
    ]
    networks = [settings for settings in found if settings["epochs"] is not None]
    seen = [of_images(settings) for settings in (PAPER, *networks)]
    alone = [
        settings
        for settings in found
        if settings["epochs"] is None and of_images(settings) not in seen
    ]
    return [PAPER, *sorted((s for s in networks if s != PAPER), key=str), *sorted(alone, key=str)]


def other_settings(number: int, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List the settings of runs that a table does not show by default.

    By default a table shows each method at its fullest setting.

    Args:
        number: Table 1 to 7.
        folder: Folder of the results; ``data/results`` by default.

    Returns:
        Settings as `settings_run` returns them.

    Example:
        >>> other_settings(4, folder="/nowhere")
        []
    """
    frame = load_results(number, protocols=(CLEAN,), folder=folder)
    shown = set(select(number, folder=folder)["key"])
    several = settings_run(number, folder=folder)
    return [s for s in several if not set(_new_at(frame, s)["key"]) <= shown]


def _new_at(frame: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows at these settings; those of trivial scores only if the images are others.

    Trivial scores do not depend on the settings of networks. On the same images their rows would
    repeat those at the paper's settings.
    """
    rows = at_settings(frame, settings)
    return (
        rows[~rows["method"].isin(TRIVIAL_METHODS)]
        if of_images(settings) == of_images(PAPER)
        else rows
    )


def only_networks_differ(settings: Mapping[str, Any] | None) -> bool:
    """Return whether settings differ from the paper's in settings of networks, not of images.

    Example:
        >>> only_networks_differ({"epochs": 3.0})
        True
    """
    return (
        settings is not None
        and {**PAPER, **settings} != PAPER
        and of_images(settings) == of_images(PAPER)
    )
