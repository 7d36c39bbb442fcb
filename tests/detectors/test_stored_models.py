"""The trained detectors that come with the repository."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ccb_lib import load_dataset, load_detector
from ccb_lib.metrics.shift import ShiftWarning

MODELS = Path(__file__).parents[2] / "data" / "models"
FILES = sorted(MODELS.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_small_loads_and_says_what_made_it(path):
    assert path.stat().st_size < 3e6
    assert f"`{path.name}`" in (MODELS / "README.md").read_text()
    detector = load_detector(path, device="cpu")
    assert {"images", "trained on", "device", "torch", "ccb_lib"} <= detector.origin_.keys()
    assert len(detector.history_) == detector.epochs == 50
    assert np.isfinite(detector.threshold_)


def test_there_is_one_of_digits_and_one_of_skin():
    assert [path.stem.split("-")[0] for path in FILES] == ["digits", "ham10000"]


def test_digits_are_told_from_an_eight_better_than_by_chance(digits):
    detector = load_detector(MODELS / "digits-8-ccb.safetensors", device="cpu")
    assert roc_auc_score(digits.test_labels, detector.decision_function(digits.test)) > 0.6
    false_alarms = (
        detector.decision_function(digits.test[~digits.test_labels]) > detector.threshold_
    ).mean()
    assert false_alarms < 0.15  # 5 % of the calibration images, on other images


def test_skin_is_scored_as_the_calibration_promises(raw_data):
    detector = load_detector(MODELS / "ham10000-vasc-ccb.safetensors", device="cpu")
    split = load_dataset("ham10000", abnormal="vasc", root=raw_data, test="natural")
    scores = detector.decision_function(split.test)
    assert len(np.unique(scores)) > 0.99 * len(scores)
    assert (scores[~split.test_labels] > detector.threshold_).mean() == pytest.approx(
        0.05, abs=0.04
    )


def test_skin_warns_of_photographs_of_other_things_and_not_of_skin(raw_data):
    detector = load_detector(MODELS / "ham10000-vasc-ccb.safetensors", device="cpu")
    others = load_dataset("cifar10", abnormal="cat", root=raw_data).test[:200]
    with pytest.warns(ShiftWarning, match="Recalibrate"):
        detector.predict(others)
    skin = load_dataset("ham10000", abnormal="vasc", root=raw_data, test="natural").test
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShiftWarning)
        detector.predict(skin)
