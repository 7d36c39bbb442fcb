"""The patch rule, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccb_lib.datasets.patches import Patch, cut, find_patches


def mask(shape, *boxes):
    out = np.zeros(shape, dtype=bool)
    for top, left, bottom, right in boxes:
        out[top:bottom, left:right] = True
    return out


def test_a_square_of_two_patch_sizes_holds_nine_patches():
    """Offsets 32, 48 and 64 lie inside each way; at 16 and 80 only half is covered, which is under
    3/4."""
    found = find_patches({"a": mask((128, 128), (32, 32, 96, 96))})
    assert found == [Patch("a", row, column) for row in (32, 48, 64) for column in (32, 48, 64)]


def test_three_quarters_are_enough_and_less_is_not():
    grid = (64, 64)
    assert len(find_patches({"a": mask(grid, (0, 0, 24, 32))})) == 1  # 24 of 32 rows: exactly 3/4
    less = mask(grid, (0, 0, 24, 32))
    less[0, 0] = False
    assert find_patches({"a": less}) == []


def test_two_labels_that_both_cover_a_patch_drop_it():
    both = mask((64, 64), (0, 0, 32, 32))
    assert find_patches({"a": both, "b": both}) == []
    assert find_patches({"a": both, "b": mask((64, 64), (0, 0, 23, 32))}) == [Patch("a", 0, 0)]


def test_patches_lie_wholly_in_the_lung():
    regions = {"a": mask((64, 64), (0, 0, 64, 64))}
    assert len(find_patches(regions)) == 9
    lung = mask((64, 64), (0, 0, 64, 48))
    assert {patch.column for patch in find_patches(regions, lung=lung)} == {0, 16}
    lung[5, 5] = False
    assert Patch("a", 0, 0) not in find_patches(regions, lung=lung)


@given(st.integers(0, 2**32 - 1), st.integers(20, 80), st.integers(20, 80))
@settings(max_examples=30, deadline=None)
def test_sums_agree_with_counting_each_patch(seed, height, width):
    rng = np.random.default_rng(seed)
    regions = {
        name: rng.random((height, width)) < share
        for name, share in (("a", 0.75), ("b", 0.74), ("c", 0.3))
    }
    expected = []
    for row in range(0, height - 31, 16):
        for column in range(0, width - 31, 16):
            covers = [
                n
                for n, m in regions.items()
                if m[row : row + 32, column : column + 32].mean() >= 0.75
            ]
            if len(covers) == 1:
                expected.append(Patch(covers[0], row, column))
    assert find_patches(regions) == expected


def test_cut_takes_the_pixels_of_each_patch():
    pixels = np.arange(64 * 64).reshape(64, 64)
    got = cut(pixels, [Patch("a", 16, 32), Patch("b", 0, 0)])
    assert got.shape == (2, 32, 32)
    assert got[0, 0, 0] == 16 * 64 + 32
    assert cut(pixels, []).shape == (0, 32, 32)


def test_wrong_settings_are_explained():
    one = {"a": np.ones((64, 64), dtype=bool)}
    for options in ({"share": 0}, {"share": 1.1}, {"size": 0}, {"stride": 0}):
        with pytest.raises(ValueError, match="a share above 0"):
            find_patches(one, **options)
    with pytest.raises(ValueError, match="differ in size"):
        find_patches({**one, "b": np.ones((64, 32), dtype=bool)})
    assert find_patches({}) == []
