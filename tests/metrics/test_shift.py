"""Scores beside those of the calibration: warned of where verdicts mean nothing, and not by
chance."""

import warnings

import numpy as np
import pytest
from scipy.stats import binomtest, ks_2samp

from ccb_lib import MeanIntensity
from ccb_lib.metrics import normal_quantile
from ccb_lib.metrics.shift import (
    LEVEL,
    Shift,
    ShiftWarning,
    compare_with_calibration,
    warn_of_shift,
)


def compare(scores, normal, **options):
    return compare_with_calibration(scores, normal, normal_quantile(normal), **options)


def test_the_figures_are_those_of_scipy():
    rng = np.random.default_rng(0)
    normal, scores = rng.normal(0, 1, 200), rng.normal(0.5, 1, 80)
    shift = compare(scores, normal)
    assert shift.flagged == (scores > normal_quantile(normal)).sum()
    assert shift.expected == 0.05
    assert shift.distance == pytest.approx(ks_2samp(scores, normal).statistic)
    assert shift.interval == pytest.approx(tuple(binomtest(shift.flagged, 80).proportion_ci(0.95)))
    assert f"{shift.flagged} of 80 images are called abnormal" in str(shift)


@pytest.mark.parametrize("images", [1, 5, 19, 60, 300])
@pytest.mark.parametrize("calibration", [20, 100, 1000])
@pytest.mark.parametrize("abnormal", [0.0, 0.5])
def test_sets_like_the_calibration_are_hardly_ever_called_unlike(images, calibration, abnormal):
    """The documented rate, by simulation: normal scores, rounded so that there are ties, and
    abnormal ones far off."""
    rng = np.random.default_rng([images, calibration, int(10 * abnormal)])
    repeats, false = 200, 0
    for _ in range(repeats):
        normal = rng.normal(0, 1, calibration).round(1)
        scores = np.where(rng.random(images) < abnormal, 50.0, rng.normal(0, 1, images).round(1))
        false += compare(scores, normal).unlike
    assert (
        false <= 2
    )  # of 200, at one in a thousand: more than 2 would come by chance once in 880 such tests
    assert LEVEL == 0.001


@pytest.mark.parametrize("flagged", [0, 10])
def test_intervals_of_none_and_all_reach_the_end(flagged):
    shift = compare_with_calibration(np.arange(10) + 100.0 * (flagged > 0), np.arange(50), 60)
    assert shift.interval == pytest.approx(tuple(binomtest(flagged, 10).proportion_ci(0.95)))


def test_fewer_than_twelve_images_are_never_called_unlike():
    normal = np.arange(100_000.0)
    assert not compare(np.full(11, 1e9), normal).unlike
    assert compare(np.full(13, 1e9), normal).unlike


@pytest.mark.parametrize("shift", [-5, 5])
def test_sets_of_another_source_are_called_unlike_on_either_side(shift):
    """Scores that are all lower raise no alarm at all, and mean as little."""
    rng = np.random.default_rng(0)
    assert compare(rng.normal(shift, 1, 200), rng.normal(0, 1, 200)).unlike


def test_who_knows_that_all_are_normal_may_say_so():
    rng = np.random.default_rng(0)
    normal, scores = rng.normal(0, 1, 500), rng.normal(1, 1, 500)
    assert not compare(scores, normal).unlike
    assert compare(scores, normal, most_abnormal=0.0).unlike


@pytest.mark.parametrize(
    ("options", "said"), [({"most_abnormal": 1.0}, "most_abnormal=1.0"), ({"level": 0}, "level=0")]
)
def test_shares_out_of_range_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        compare([1.0], [1.0, 2.0], **options)


def test_the_warning_names_the_callers_line():
    with pytest.warns(
        ShiftWarning, match=r"100 of 100 images are called abnormal \(100%.*Recalibrate"
    ) as caught:
        warn_of_shift(Shift(100, 100, (0.96, 1.0), 0.05, 1.0, unlike=True))
    assert caught[0].filename == __file__


def test_predict_warns_of_images_of_another_source_alone(digits):
    detector = MeanIntensity(device="cpu").fit(digits.train, calibration=digits.calibration)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.predict(digits.test)
        detector.predict(255 - digits.test[:5])  # too few to tell
    with pytest.warns(
        ShiftWarning, match="not like those that the detector was calibrated on"
    ) as caught:
        assert detector.predict(255 - digits.test[:100]).all()
    assert caught[0].filename == __file__
