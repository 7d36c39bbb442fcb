"""Helpers of the chapters: trained detectors, folders, and the command line."""

import hashlib
import json
import os
import shlex
import shutil
from contextlib import chdir
from pathlib import Path
from typing import TypeVar

from ccb_lib.datasets import AnomalySplit
from ccb_lib.datasets.base import data_root
from ccb_lib.detectors import load_detector
from ccb_lib.detectors.base import Detector
from ccb_lib.io.tensors import digest
from ccb_lib.io.writing import locked

AnyDetector = TypeVar("AnyDetector", bound=Detector)


def models_folder() -> Path:
    """Return the folder in which chapters store trained detectors.

    Returns:
        ``$CCB_MODELS`` if it is set; else ``_build/models`` of the book, if the working directory
        is in it; else a folder in the user's cache.
    """
    if given := os.environ.get("CCB_MODELS"):
        return Path(given)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "_toc.yml").is_file():
            return folder / "_build" / "models"
    from platformdirs import user_cache_path

    return user_cache_path("ccb_lib") / "models"


def trained(detector: AnyDetector, split: AnomalySplit, *, progress: bool = False) -> AnyDetector:
    """Return a detector fitted to a split; fit and store it unless a stored one matches.

    A stored detector matches if its method, its settings, and its training and calibration images
    are the same. The device does not matter. Of several processes that need the same detector at
    once, one trains it; the others wait and load it.

    Args:
        detector: An unfitted detector. It is not changed if a stored one is loaded.
        split: The training and calibration images.
        progress: Show a progress bar; off by default, because a built page would hold its text.

    Returns:
        The fitted detector.
    """
    settings = {**detector.get_params(), "device": None}
    identity = json.dumps(
        [detector.method, settings, digest(split.train, split.calibration)],
        sort_keys=True,
        default=str,
    )
    path = (
        models_folder()
        / f"{detector.method}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
    )
    with locked(path.with_name(f".{path.stem}.lock")):
        if path.exists():
            loaded = load_detector(path, device=detector.device)
            loaded.show_progress = progress
            return loaded  # type: ignore[return-value]
        detector.fit(split.train, calibration=split.calibration, progress=progress)
        detector.save(path)
    return detector


def chapter_folder(name: str) -> Path:
    """Create an empty folder for the output files of a chapter, next to the trained detectors.

    Args:
        name: Name of the folder. If it exists, it is deleted first.

    Returns:
        The folder.
    """
    folder = models_folder().parent / "chapters" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def dataset_dir_or_none(name: str) -> Path | None:
    """Return the folder of a data set, or ``None`` if it is not on this machine.

    Args:
        name: Name of the folder, such as ``"ham10000"``.

    Returns:
        The folder in the data root, or ``None``.

    Example:
        >>> dataset_dir_or_none("no-such-set") is None
        True
    """
    try:
        folder = data_root() / name
    except FileNotFoundError:
        return None
    return folder if folder.is_dir() else None


def ccb(words: str, folder: Path) -> None:
    """Run the command ``ccb`` in a folder, and print the command line and its output.

    Args:
        words: The arguments of ``ccb``, as one would type them in a shell.
        folder: The working directory.

    Raises:
        RuntimeError: The command failed with an exception, not with an error message of its own.

    Example:
        >>> ccb("--version", Path.cwd())
        $ ccb --version
        ...
    """
    from click.testing import CliRunner

    from ccb_lib.cli.group import main

    with chdir(folder):
        result = CliRunner().invoke(main, shlex.split(words))
    print(f"$ ccb {words}\n{result.output}".rstrip())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise RuntimeError(f"ccb {words} failed") from result.exception
