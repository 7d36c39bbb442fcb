"""One look for all figures: calm, safe for colour-blind readers, and legible on a phone."""

from collections.abc import Collection

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The text column on a phone is some 340 CSS pixels wide, which is 68 for each inch of this width: a point of
# type in a figure is then 0.94 pixels on the phone, so 9 points can be read, and 8 are the least.
WIDTH = 5.0

GREY = "#767676"  # 4.5 : 1 on white
_PALETTE = sns.color_palette("colorblind").as_hex()
_BLUE, _ORANGE, _, _RED, _PINK, _BROWN, _, _LIGHT_GREY, _YELLOW, _SKY = _PALETTE
_TEAL = "#44aa99"
# Told apart with protanopia and deuteranopia too (tested), by lightness as much as by hue.
METHOD_COLOURS = {
    "AnoGAN": "#555555",
    "EGBAD": _SKY,
    "GANomaly": _TEAL,
    "SkipGANomaly": _ORANGE,
    "CCB": _BLUE,
}
PALETTE = (_BLUE, _ORANGE, _TEAL, _RED, _PINK, _BROWN, _SKY, _YELLOW, _LIGHT_GREY)
SOURCE_COLOURS = {"reported": _LIGHT_GREY, "released": _ORANGE, "clean": _BLUE}
CLASS_COLOURS = {"normal": _BLUE, "abnormal": _RED}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
NOT_RUN = "not run"  # what stands where a cell is missing

# The figure's own background is white, so that it reads the same on a dark page.
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.edgecolor": "#bbbbbb",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.bottom": False,
    "lines.linewidth": 1.6,
}
styled = plt.rc_context(
    STYLE
)  # as a decorator: draw in this style, and leave the reader's settings alone


def colours(names: Collection[str]) -> dict[str, str]:
    """Give each name a colour: methods and sources their own where free, all others the next one."""
    own = METHOD_COLOURS | SOURCE_COLOURS
    chosen: dict[str, str] = {}
    for name in names:
        if name in own and own[name] not in chosen.values():
            chosen[name] = own[name]
    free = [colour for colour in PALETTE if colour not in chosen.values()] or list(PALETTE)
    others = [name for name in names if name not in chosen]
    chosen |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: chosen[name] for name in names}


def panels(
    rows: int, columns: int = 1, *, height: float, share_y: bool = True
) -> tuple[Figure, list[Axes]]:
    """Make a figure `WIDTH` inches wide of ``rows`` × ``columns`` panels, each ``height`` inches high.

    The figure is not kept by pyplot: a notebook shows it once, as the value of its cell, and none pile up.
    """
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, rows * height),
        layout="constrained",
        squeeze=False,
        sharey=share_y,
    )
    plt.close(figure)
    return figure, list(np.ravel(grid))


def check_range(values: np.ndarray, name: str) -> None:
    """Raise a ValueError where a share, NaN aside, lies outside 0…1."""
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            f"{name} from {np.nanmin(values):g} to {np.nanmax(values):g} given; 0…1 is needed."
        )
