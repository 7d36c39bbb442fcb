"""Unsupervised anomaly detection in images: the CCB adversarial autoencoder and its baselines.

Every public name is imported on first use: ``import ccb_lib`` alone loads no torch, NumPy or
scikit-learn.

>>> from ccb_lib import CCB, load_dataset
>>> split = load_dataset("digits", abnormal=8)
>>> detector = CCB(epochs=1, width=4)
>>> detector = detector.fit(split.train[:64], calibration=split.calibration, progress=False)
>>> scores = detector.decision_function(split.test)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ccb_lib.datasets import AnomalySplit, load_dataset
    from ccb_lib.detectors import load_detector
    from ccb_lib.detectors.anogan import AnoGAN
    from ccb_lib.detectors.ccb import CCB
    from ccb_lib.detectors.ccb_fork import CCBFork
    from ccb_lib.detectors.egbad import EGBAD
    from ccb_lib.detectors.ganomaly import GANomaly
    from ccb_lib.detectors.simple_baselines import (
        MeanIntensity,
        NearestNeighbours,
        PixelPCA,
        PNGBytes,
    )
    from ccb_lib.detectors.skip_ganomaly import SkipGANomaly
    from ccb_lib.evaluation.epochs import EpochScores
    from ccb_lib.evaluation.evaluate import evaluate
    from ccb_lib.evaluation.protocols import CLEAN, RELEASED, Protocol
    from ccb_lib.explorer.widget import ThresholdExplorer
    from ccb_lib.metrics import ScoreTerms
    from ccb_lib.reproduction.reported import reported
    from ccb_lib.training.concurrent import train_together

__version__ = "0.2.0"

_HOME_OF = {
    "AnomalySplit": "ccb_lib.datasets",
    "load_dataset": "ccb_lib.datasets",
    "load_detector": "ccb_lib.detectors",
    "AnoGAN": "ccb_lib.detectors.anogan",
    "CCB": "ccb_lib.detectors.ccb",
    "CCBFork": "ccb_lib.detectors.ccb_fork",
    "EGBAD": "ccb_lib.detectors.egbad",
    "GANomaly": "ccb_lib.detectors.ganomaly",
    "SkipGANomaly": "ccb_lib.detectors.skip_ganomaly",
    "MeanIntensity": "ccb_lib.detectors.simple_baselines",
    "NearestNeighbours": "ccb_lib.detectors.simple_baselines",
    "PixelPCA": "ccb_lib.detectors.simple_baselines",
    "PNGBytes": "ccb_lib.detectors.simple_baselines",
    "ScoreTerms": "ccb_lib.metrics",
    "reported": "ccb_lib.reproduction.reported",
    "train_together": "ccb_lib.training.concurrent",
    "ThresholdExplorer": "ccb_lib.explorer.widget",
    "EpochScores": "ccb_lib.evaluation.epochs",
    "CLEAN": "ccb_lib.evaluation.protocols",
    "RELEASED": "ccb_lib.evaluation.protocols",
    "Protocol": "ccb_lib.evaluation.protocols",
    "evaluate": "ccb_lib.evaluation.evaluate",
}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(
            f"module 'ccb_lib' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, including those not yet imported."""
    return sorted(set(globals()) | set(__all__))
