"""What the book's chapters share: trained detectors, and facts about the machine."""

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

AnyDetector = TypeVar("AnyDetector", bound=Detector)


def models_folder() -> Path:
    """Where chapters keep trained detectors: ``$CCB_MODELS``, the book's ``_build/models``, or a cache folder."""
    if given := os.environ.get("CCB_MODELS"):
        return Path(given)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "_toc.yml").is_file():
            return folder / "_build" / "models"
    from platformdirs import user_cache_path

    return user_cache_path("ccb_lib") / "models"


def trained(detector: AnyDetector, split: AnomalySplit, *, progress: bool = False) -> AnyDetector:
    """Return the detector fitted to a split: loaded if an equal one was trained before, else trained and kept.

    Equal means the same settings and the same training and calibration images.

    Args:
        detector: Settings; left as it is where a trained one is loaded.
        split: Its training and calibration images are used.
        progress: Show a bar; off, since a bar in a built page is noise.
    """
    settings = {**detector.get_params(), "device": None}
    identity = json.dumps(
        [detector.method, settings, digest(split.train, split.calibration)], sort_keys=True, default=str
    )
    path = models_folder() / f"{detector.method}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
    if path.exists():
        loaded = load_detector(path, device=detector.device)
        loaded.show_progress = progress
        return loaded  # type: ignore[return-value]
    detector.fit(split.train, calibration=split.calibration, progress=progress)
    detector.save(path)
    return detector


def chapter_folder(name: str) -> Path:
    """Give an empty folder for the files that a chapter makes, beside its trained models; what it held is removed."""
    folder = models_folder().parent / "chapters" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def dataset_dir_or_none(name: str) -> Path | None:
    """Return the folder of a data set, or ``None`` where its images are not on this machine."""
    try:
        folder = data_root() / name
    except FileNotFoundError:
        return None
    return folder if folder.is_dir() else None


def ccb(words: str, folder: Path) -> None:
    """Run the command ``ccb`` as a shell would in a folder, and print what it says.

    Args:
        words: All that follows ``ccb`` in the shell.
        folder: Where relative paths begin.

    Raises:
        RuntimeError: An error of the library's own, not one that the command explains.
    """
    from click.testing import CliRunner

    from ccb_lib.cli.group import main

    with chdir(folder):
        result = CliRunner().invoke(main, shlex.split(words))
    print(f"$ ccb {words}\n{result.output}".rstrip())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise RuntimeError(f"ccb {words} failed") from result.exception
