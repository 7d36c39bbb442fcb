import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from ccb_lib.plots import image_grid, loss_curves


def test_image_grid_draws_pictures_as_they_are_and_maps_on_one_scale(digits):
    maps = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    figure = image_grid({"x": digits.test[:3], "error": maps}, titles=["a", "b", "c"])
    shown = [axis.images[0] for axis in figure.axes]
    assert np.array_equal(shown[0].get_array(), digits.test[0, 0])
    assert {image.get_clim() for image in shown[3:]} == {(0, float(maps.max()))}


def test_image_grid_writes_what_neighbours_share_once_and_can_be_read_on_a_phone(digits, legible):
    rows = {"x": digits.test[:12], "SkipGANomaly with chains": digits.test[:12]}
    figure = legible(image_grid(rows, titles=["normal"] * 6 + ["abnormal"] * 5 + ["both kinds"]))
    assert [text.get_text() for text in figure.texts] == [
        "x", "SkipGANomaly\nwith chains", "normal", "abnormal", "both\nkinds",
    ]  # fmt: skip
    assert min(text.get_fontsize() for text in figure.texts) >= 9
    # a heading stands over the middle of its columns, and not on the pictures
    (left, right), normal = (figure.axes[k].get_position() for k in (0, 5)), figure.texts[2]
    assert normal.get_position()[0] == pytest.approx((left.x0 + right.x1) / 2, abs=0.01)
    tops = [
        figure.transFigure.inverted().transform(text.get_window_extent())[0, 1]
        for text in figure.texts[2:]
    ]
    assert min(tops) > left.y1


def test_loss_curves_draw_the_history():
    figure = loss_curves(
        [{"epoch": 1, "total": 3.0, "seconds": 1}, {"epoch": 2, "total": 2.0, "seconds": 1}]
    )
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["total"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [3, 2]
