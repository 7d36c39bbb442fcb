"""Maps of slices: averages over overlapping patches, worked out pixel by pixel."""

import numpy as np
import pytest

from ccb_lib import MeanIntensity
from ccb_lib.evaluation.slice_maps import brightness, map_of_slice


@pytest.fixture
def slice_():
    rng = np.random.default_rng(0)
    lung = np.zeros((80, 96), dtype=bool)
    lung[8:72, 16:90] = True
    return rng.integers(0, 256, lung.shape, dtype=np.uint8), lung


@pytest.mark.parametrize("kind", ["patch", "pixel"])
def test_each_pixel_averages_the_patches_that_cover_it(slice_, kind):
    grey, lung = slice_

    def score(patches):
        assert patches.shape[1:] == (1, 32, 32)
        return patches[:, 0] / 2 if kind == "pixel" else patches[:, 0, 0, 0].astype(float)

    got = map_of_slice(score, grey, lung, stride=8)
    lists = {}
    for row in range(0, 80 - 31, 8):
        for column in range(0, 96 - 31, 8):
            if lung[row : row + 32, column : column + 32].mean() >= 0.75:
                for y in range(row, row + 32):
                    for x in range(column, column + 32):
                        lists.setdefault((y, x), []).append(
                            grey[y, x] / 2 if kind == "pixel" else grey[row, column]
                        )
    expected = np.full(grey.shape, np.nan)
    for place, values in lists.items():
        expected[place] = np.mean(values) if lung[place] else np.nan
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_brightness_is_what_the_mean_intensity_detector_scores():
    patches = np.random.default_rng(1).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)
    np.testing.assert_allclose(brightness(patches), [patch.mean() / 255 for patch in patches])
    scores = MeanIntensity().fit(patches).decision_function(patches)
    assert np.argsort(scores).tolist() == np.argsort(brightness(patches)).tolist()


def test_mistakes_are_named(slice_):
    grey, lung = slice_
    with pytest.raises(ValueError, match="both need one"):
        map_of_slice(brightness, grey, lung[:, :-1])
    with pytest.raises(
        ValueError, match="No patch of 32×32 pixels has 75% of its pixels in the lung"
    ):
        map_of_slice(brightness, grey, np.zeros_like(lung))
    with pytest.raises(ValueError, match="one value a patch"):
        map_of_slice(lambda patches: patches, grey, lung)
