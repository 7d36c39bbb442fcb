"""Settings of stored runs: rows with given settings, and the fullest setting of a method."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ccb_lib.reproduction.defaults import default_of
from ccb_lib.reproduction.names import display_name
from ccb_lib.reproduction.registry import TRIVIAL_METHODS

_OF_NETWORKS = ("epochs", "width", "similarity", "chain_init", "other")
CHOICES = ("epochs", "limit", "width", "similarity", "chain_init", "image_size", "normal", "other")
PAPER = {"epochs": 50} | dict.fromkeys(CHOICES[1:])
"""The paper's own setting: 50 epochs, and the default of every other choice."""


def at_settings(frame: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the rows whose runs had these settings.

    For trivial scores only the settings that choose images are compared.

    Args:
        frame: Frame returned by `load_results`.
        settings: Settings by name, such as ``{"epochs": 50, "limit": None}``; ``None`` is the
            default.
    """
    trivial = frame["method"].isin(TRIVIAL_METHODS)
    keep = pd.Series(True, index=frame.index)
    for name, value in settings.items():
        is_default = np.array(
            [value is None or default_of(m, name) == value for m in frame["method"]], dtype=bool
        )
        same = (frame[name] == value) | (frame[name].isna() & is_default)
        keep &= same | (trivial if name in _OF_NETWORKS else False)
    return frame[keep]


def fullest_of(frame: pd.DataFrame, method: str) -> dict[str, Any] | None:
    """Find the fullest setting at which a method was run on all of the table's images.

    Epochs and width may differ from the paper's. Every other choice must be the default, since
    another loss, initialisation, image size or choice of normal classes is a different experiment.
    The setting with the most cells (chain and class) is taken; among equals, the one with the
    largest epochs × width × seeds. If a method was only run with a ``test_limit``, the largest
    limit is taken.

    Args:
        frame: Frame returned by `load_results`.
        method: Name in `METHODS`.

    Returns:
        Settings for `at_settings`, or ``None`` if the method was not run.

    Example:
        >>> from ccb_lib.reproduction.results import load_results
        >>> fullest_of(load_results(4), "ganomaly")["epochs"]
        50
    """
    own = frame[frame["method"] == method]
    others: dict[str, Any] = {name: None for name in CHOICES if name not in ("epochs", "width")}
    rows = at_settings(own, others)
    fewer = sorted(
        {text for text in own["other"].dropna() if re.fullmatch(r"test_limit \d+", text)}
    )
    if rows.empty and fewer:  # same training, tested on fewer images
        others["other"] = max(fewer, key=lambda text: int(text.split()[1]))
        rows = at_settings(own, others)
    if rows.empty or method in TRIVIAL_METHODS:
        return None if rows.empty else dict(PAPER)
    default = default_of(method, "width")
    ranks = {}
    for (epochs, width), part in rows.groupby(
        ["epochs", rows["width"].astype(float).fillna(default)]
    ):
        cells = part.drop_duplicates(["chain", "abnormal", "seed"])
        covered = len(cells.drop_duplicates(["chain", "abnormal"]))
        ranks[epochs, width] = (covered, epochs * width * len(cells) / covered)
    epochs, width = max(ranks, key=ranks.__getitem__)
    return {
        **PAPER,
        **others,
        "epochs": int(epochs),
        "width": None if width == default else int(width),
    }


def of_images(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that choose images; scores without a network have no others."""
    return {name: settings.get(name) for name in ("limit", "image_size", "normal")}


def described(settings: Mapping[str, Any]) -> str:
    """Return settings as text: the epochs, then what differs from the paper.

    >>> described({"epochs": 50, "width": 16})
    '50 epochs, width 16'
    """
    texts = {"limit": "at most {} images of each part", "width": "width {}",
             "similarity": "Ls as {}", "chain_init": "chains from {}", "image_size": "{} px",
             "normal": "normal: {}", "other": "{}"}  # fmt: skip
    parts = [f"{settings['epochs']:g} epochs"] if settings.get("epochs") is not None else []
    for name, text in texts.items():
        if settings.get(name) is not None:
            value = settings[name]
            if name == "chain_init":
                value = display_name(value)
            parts.append(text.format(f"{value:g}" if isinstance(value, float) else value))
    return ", ".join(parts)
