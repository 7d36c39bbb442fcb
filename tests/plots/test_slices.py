"""Maps over slices, and AUCs as points."""

import numpy as np
import pandas as pd
import pytest

from ccb_lib.plots.scores import auc_dots
from ccb_lib.plots.slices import slice_with_map


def test_each_map_lies_over_the_slice_and_leaves_gaps_open():
    grey = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
    values = np.full((64, 48), np.nan)
    values[20:40, 10:30] = np.arange(400).reshape(20, 20)
    figure = slice_with_map(
        grey, {"one": values, "two": values * 2}, circle=(20, 30, 5), title="slice 3"
    )
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["slice 3", "one", "two"]
    assert [len(axis.images) for axis in figure.axes] == [1, 2, 2]
    assert [len(axis.patches) for axis in figure.axes] == [1, 1, 1]
    drawn = figure.axes[1].images[1].get_array()
    assert (np.ma.getmaskarray(drawn) == np.isnan(values)).all()
    assert figure.axes[0].get_xlim() == (10 - 12, 29 + 12)
    assert figure.axes[0].get_ylim() == (39 + 12, 20 - 12)  # rows grow downwards


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ({}, "at least one"),
        ({"score": np.zeros((3, 3))}, r"\(3, 3\)"),
        ({"score": np.full((8, 8), np.nan)}, "no value"),
    ],
)
def test_maps_that_cannot_be_drawn_are_named(maps, said):
    with pytest.raises(ValueError, match=said):
        slice_with_map(np.zeros((8, 8), dtype=np.uint8), maps)


def test_aucs_are_drawn_as_they_are():
    table = pd.DataFrame({"original": [0.8, 0.3], "background": [0.5, 0.6]}, index=["PCA", "CCB"])
    axis = auc_dots(table).axes[0]
    points = {
        line.get_label(): line.get_xdata().tolist()
        for line in axis.lines
        if line.get_marker() != "None"
    }
    assert points == {"original": [0.8, 0.3], "background": [0.5, 0.6]}
    assert [text.get_text() for text in axis.get_yticklabels()] == ["PCA", "CCB"]
    with pytest.raises(ValueError, match=r"1\.2"):
        auc_dots(pd.DataFrame({"a": [1.2]}))
    with pytest.raises(ValueError, match="empty"):
        auc_dots(pd.DataFrame())
