"""What the book's chapters share: trained detectors, and facts about the machine."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

from ccb_lib.datasets import AnomalySplit
from ccb_lib.detectors import load_detector
from ccb_lib.detectors.base import Detector
from ccb_lib.files import digest

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


def machine() -> dict[str, str]:
    """Describe what runs this: processor, threads, GPU, versions; ready for a table."""
    packages = (
        "ccb-lib",
        "torch",
        "torchvision",
        "numpy",
        "scikit-learn",
        "matplotlib",
        "ipywidgets",
        "jupyter-book",
    )
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "Python": platform.python_version(),
    }
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts
