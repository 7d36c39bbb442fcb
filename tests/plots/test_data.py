"""Figures of data: what they draw, read back from their artists."""

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ccb_lib.datasets.examples.ild import box
from ccb_lib.datasets.ild_rois import draw
from ccb_lib.datasets.patches import Patch
from ccb_lib.plots.data import (
    pixel_centres,
    sample_sheet,
    slice_regions,
    slice_windows,
    verdict_grid,
)


def test_windows_show_the_same_slice_in_other_greys(legible):
    hounsfield = np.full((64, 64), -300.0)
    figure = legible(slice_windows(hounsfield, [(-1000, 400), (-1200, 200)]))
    assert [axis.get_title("left") for axis in figure.axes] == ["−1000…400 HU", "−1200…200 HU"]
    assert [axis.images[0].get_array()[0, 0] for axis in figure.axes] == [128, 164]


def test_regions_and_patches_lie_where_they_are(legible):
    patches = [Patch("fibrosis", 16, 32), Patch("healthy", 0, 0)]
    contours = [("fibrosis", box(32, 16, 64, 48))]
    figure = legible(
        slice_regions(np.zeros((64, 96), dtype=np.uint8), contours=contours, patches=patches)
    )
    left, right = figure.axes
    assert left.patches[0].get_xy()[:2].tolist() == [[32, 16], [64, 16]]
    assert [(patch.get_xy(), patch.get_width()) for patch in right.patches] == [
        ((32, 16), 32),
        ((0, 0), 32),
    ]
    assert right.get_title("left") == "2 patches of 32×32"
    assert right.images[0].get_extent() == [0, 96, 64, 0]  # pixel edges, as contours count


def test_masks_are_tinted(legible):
    mask = np.zeros((64, 64), dtype=bool)
    mask[:10] = True
    figure = legible(
        slice_regions(np.zeros((64, 64), dtype=np.uint8), regions={"ground_glass": mask})
    )
    tint = figure.axes[0].images[1].get_array()
    assert (tint[..., 3] > 0).sum() == 640


def test_a_sheet_shows_each_image_under_its_class(legible):
    grey = torch.full((1, 8, 8), 200, dtype=torch.uint8)
    colour = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
    figure = legible(
        sample_sheet({"A": {f"class_{k}": grey for k in range(7)}, "B": {"x": colour}})
    )
    shown = {axis.get_title("center"): axis.images[0] for axis in figure.axes if axis.images}
    assert list(shown) == [*(f"class {k}" for k in range(7)), "x"]
    assert (shown["class 6"].get_array() == 200).all()
    assert shown["class 6"].get_clim() == (0, 255)  # not stretched to the image's own range
    assert np.array_equal(shown["x"].get_array(), colour.permute(1, 2, 0))


def test_centres_inside_are_filled(legible):
    points = box(2, 2, 5, 4)
    figure = legible(pixel_centres(points, draw(points, (8, 8)), (0, 0, 8, 8)))
    inside, outside = figure.axes[0].collections
    assert sorted(map(tuple, inside.get_offsets().tolist())) == [
        (x + 0.5, y + 0.5) for x in (2, 3, 4) for y in (2, 3)
    ]
    assert len(outside.get_offsets()) == 64 - 6


def test_verdicts_stand_above_their_images(tmp_path, legible):
    (tmp_path / "maps").mkdir()
    rows = []
    for line, verdict in enumerate(("normal", "abnormal"), start=1):
        Image.new("L", (40, 40), 100 * line).save(tmp_path / f"{verdict}.png")
        Image.new("RGB", (64, 64), (0, 0, 100 * line)).save(
            tmp_path / f"maps/{line:06d}_{verdict}.png"
        )
        rows.append({"path": f"{verdict}.png", "score": 1.0, "p_value": 0.25, "verdict": verdict})
    figure = legible(verdict_grid(pd.DataFrame(rows), tmp_path, tmp_path / "maps"))
    axes = figure.axes
    assert [axis.get_title() for axis in axes[:2]] == ["normal\np = 0.250", "abnormal\np = 0.250"]
    assert [int(axis.images[0].get_array()[5, 5, 0]) for axis in axes[:2]] == [100, 200]
    assert [round(255 * axis.images[0].get_array()[5, 5, 2]) for axis in axes[2:]] == [100, 200]
