"""The detectors, one file for each row of the paper's tables."""

from pathlib import Path

import numpy as np

from ccb_lib.detectors.anogan import AnoGAN
from ccb_lib.detectors.base import FORMAT_VERSION, CollapsedWarning, Detector, NotReady
from ccb_lib.detectors.ccb import CCB
from ccb_lib.detectors.ccb_fork import CCBFork
from ccb_lib.detectors.egbad import EGBAD
from ccb_lib.detectors.ganomaly import GANomaly
from ccb_lib.detectors.simple_baselines import MeanIntensity, NearestNeighbours, PixelPCA, PNGBytes
from ccb_lib.detectors.skip_ganomaly import SkipGANomaly
from ccb_lib.environment import choose_device
from ccb_lib.io.images import SIZES
from ccb_lib.io.tensors import digest, load_tensors
from ccb_lib.metrics import ScoreTerms

METHODS: dict[str, type[Detector]] = {
    cls.method: cls
    for cls in (
        CCB,
        CCBFork,
        SkipGANomaly,
        GANomaly,
        EGBAD,
        AnoGAN,
        PixelPCA,
        MeanIntensity,
        PNGBytes,
        NearestNeighbours,
    )
}

__all__ = [
    "CCB",
    "EGBAD",
    "METHODS",
    "AnoGAN",
    "CCBFork",
    "CollapsedWarning",
    "Detector",
    "GANomaly",
    "MeanIntensity",
    "NearestNeighbours",
    "NotReady",
    "PNGBytes",
    "PixelPCA",
    "SkipGANomaly",
    "load_detector",
]


def load_detector(path: str | Path, device: str = "auto") -> Detector:
    """Load a detector from a file that `Detector.save` wrote; its scores are unchanged.

    >>> import tempfile
    >>> from ccb_lib import MeanIntensity, load_dataset, load_detector
    >>> images = load_dataset("digits", abnormal=8).train
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     MeanIntensity().fit(images).save(f"{folder}/mean.safetensors")
    ...     load_detector(f"{folder}/mean.safetensors").method
    'mean-intensity'

    Args:
        path: The safetensors file. Nothing in it is executed.
        device: The device to load it onto, as in `Detector`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, is not a detector file, has another format version, or is
            inconsistent.

    Warns:
        CollapsedWarning: The training of the stored detector collapsed, so its scores carry no
            information; `Detector.fit` warned of the same.
    """
    tensors, header = load_tensors(path)
    if header.get("kind") != "detector":
        raise ValueError(
            f"{path} is not a detector file: its kind is {header.get('kind')!r}, not 'detector'. "
            "Training resumes from a checkpoint with fit(…, resume=path); save(path) writes a "
            "detector."
        )
    if header.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {header.get('version')!r}; this ccb_lib reads version "
            f"{FORMAT_VERSION}. Use the version of ccb_lib that wrote it, or save it again."
        )
    if str(header.get("method")) not in METHODS:
        raise ValueError(
            f"{path} holds the method {header.get('method')!r}; known are {', '.join(METHODS)}."
        )
    choose_device(device)
    try:
        stated = header.get("weights")  # older files do not store it
        if stated not in (None, digest(*(tensors[name] for name in sorted(tensors)))):
            raise ValueError("its weights do not match the digest stored with them")
        settings = {
            k: tuple(v) if isinstance(v, list) else v for k, v in header["settings"].items()
        }
        METHODS[header["method"]]._upgrade(settings, tensors)
        detector = METHODS[header["method"]](**{**settings, "device": device})
        size, channels = header["image_size"], header["channels"]
        if size not in SIZES or channels not in (1, 3):
            raise ValueError(f"images of {channels} channels and {size} px")
        detector.image_size_, detector.channels_ = size, channels
        detector._load_state(tensors)
        if not all(
            isinstance(value, int | float) for line in header["history"] for value in line.values()
        ):
            raise ValueError("the history holds a value that is not a number")
        detector.history_ = header["history"]
        if not all(isinstance(value, int | str) for value in header.get("origin", {}).values()):
            raise ValueError("the origin holds a value that is neither text nor a whole number")
        detector.origin_ = header.get("origin", {})
        collapsed = header.get("collapsed", [])  # older files do not store it
        if not isinstance(collapsed, list) or not all(isinstance(sign, str) for sign in collapsed):
            raise ValueError("the signs of collapse are not texts")
        detector.collapsed_ = collapsed
        detector.false_alarms_ = header["false_alarms"]
        if header["calibration"] is not None:
            columns = (
                np.asarray(header["calibration"][key], dtype=np.float32)
                for key in ("image", "latent")
            )
            detector.calibration_terms_ = ScoreTerms(*columns)
            # Computing it raises where the terms differ in number or are not finite, or where the
            # share lies outside 0…1.
            _ = detector.threshold_
        if header["threshold"] is not None:
            detector.threshold_ = header["threshold"]
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{path} does not fit together ({error}). It was changed or damaged; save it again."
        ) from error
    detector._warn_of_collapse(stacklevel=3)  # the caller of load_detector
    return detector
