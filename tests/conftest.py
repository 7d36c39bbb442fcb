"""What tests of several modules share."""

import warnings
from itertools import pairwise

import matplotlib as mpl
import pytest

mpl.use("agg")


@pytest.fixture
def legible():
    """Lay a figure out; check that nothing is cut off, no tick labels overlap, and type suits a phone."""

    def check(figure):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.draw_without_rendering()
        assert mpl.colors.to_rgba(figure.get_facecolor()) == (1, 1, 1, 1)
        assert figure.get_figwidth() == 5  # on a phone a point of type is then some 0.94 pixels
        page = figure.bbox.padded(1)
        for text in set(figure.findobj(mpl.text.Text)) - unseen_ticks(figure):
            if text.get_text().strip() and text.get_visible():
                assert text.get_fontsize() >= 8, f"{text.get_text()!r} is too small"
                box = text.get_window_extent()
                assert all(page.contains(*corner) for corner in box.corners()), f"{text!r} is cut off: {box}"
        for ax in figure.axes:
            labels = [
                x.get_window_extent() for x in ax.get_xticklabels() if x.get_text() and not x.get_rotation()
            ]
            assert all(left.x1 < right.x0 for left, right in pairwise(labels)), "tick labels overlap"
        return figure

    return check


def unseen_ticks(figure):
    """Tick labels beyond the limits of their axis, which matplotlib keeps and does not draw."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    ticks = [(tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()]
    return {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}
