"""The stored leak on digits, and a measurement at a tiny size."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ccb_lib import load_dataset
from ccb_lib.chapters.digits_leak import (
    PURITIES,
    SIZES,
    leak_by_digit,
    leak_cells,
    measure_digits,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("leak") / "leak.safetensors"
    measure_digits(path, digits=[3], width=2, epochs=1, device="cpu")
    return path


def test_a_measurement_holds_every_feeding_of_the_test_set(tiny):
    cells = leak_cells(tiny)
    wanted = {("digit 3", float(size), purity) for size in (1, *SIZES) for purity in PURITIES}
    assert set(cells) == wanted
    labels = load_dataset("digits", abnormal=3).test_labels
    for scores, given in cells.values():
        assert np.array_equal(given, labels)
        assert np.ptp(scores) > 0


def test_alone_the_order_has_no_effect_and_in_a_batch_it_has(tiny):
    cells = leak_cells(tiny)
    first, last = PURITIES[0], PURITIES[-1]
    same = cells["digit 3", 1.0, first][0] == cells["digit 3", 1.0, last][0]
    assert same.all()
    moved = cells["digit 3", 64.0, first][0] != cells["digit 3", 64.0, last][0]
    assert moved.any()


def test_aucs_agree_with_scikit_learn(tiny):
    frame, cells = leak_by_digit(tiny), leak_cells(tiny)
    for column, key in {
        "normals first": ("digit 3", 64.0, 1.0),
        "shuffled": ("digit 3", 64.0, 0.0),
        "one at a time": ("digit 3", 1.0, 0.0),
    }.items():
        scores, labels = cells[key]
        assert frame.loc[3, column] == pytest.approx(roc_auc_score(labels, scores))
    assert (frame.attrs["width"], frame.attrs["epochs"]) == (2, 1)


def test_all_ten_digits_are_stored():
    assert list(leak_by_digit().index) == list(range(10))
