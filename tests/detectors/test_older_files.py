"""Detectors that version 0.1 saved load and score as they did then.

The files were written by 0.1.0 (width 2, one epoch on 64 digits), the scores beside them by the
same run.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from ccb_lib import load_dataset, load_detector
from ccb_lib.detectors import METHODS, CollapsedWarning

FOLDER = Path(__file__).parent / "version-0.1"
SCORES = json.loads((FOLDER / "scores.json").read_text())


def test_every_method_of_that_version_is_there():
    assert set(SCORES) == set(METHODS) - {"ccb-fork"}


@pytest.mark.parametrize("method", sorted(SCORES))
def test_it_loads_and_scores_the_same(method):
    images = load_dataset("digits", abnormal=8).test[:20]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedWarning)
        detector = load_detector(FOLDER / f"{method}.safetensors", device="cpu")
    assert detector.method == method
    assert np.isfinite(detector.threshold_)
    np.testing.assert_allclose(detector.decision_function(images), SCORES[method], rtol=1e-4)
