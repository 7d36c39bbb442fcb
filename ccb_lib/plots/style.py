"""Style of all figures: colours that colour-blind readers can distinguish, legible on a phone."""

from collections.abc import Collection

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Width of figures in inches. The text column on a phone is about 340 CSS pixels wide, which is 68
# pixels an inch of this width. A point of type is then 0.94 pixels: 9 points are legible, and 8
# points are the minimum.
WIDTH = 5.0

GREY = "#767676"  # 4.5 : 1 on white
_PALETTE = sns.color_palette("colorblind").as_hex()
_BLUE, _ORANGE, _, _RED, _PINK, _BROWN, _, _LIGHT_GREY, _YELLOW, _SKY = _PALETTE
_TEAL = "#44aa99"
# Distinguishable with protanopia and deuteranopia (tested): they differ in lightness and in hue.
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
NOT_RUN = "not run"  # label of a missing cell

# The background is transparent. The book's dark theme inverts the lightness of such figures and
# puts a white background behind figures that hold images.
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
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
# Decorator: a function draws in this style, and the caller's rcParams are restored afterwards.
styled = plt.rc_context(STYLE)


def colours(names: Collection[str]) -> dict[str, str]:
    """Assign a colour to each name.

    Args:
        names: Names in the order of a legend.

    Returns:
        The colour of each name. Methods and sources have fixed colours, unless an earlier name has
        taken them. The others get the next free colour of `PALETTE`.

    Example:
        >>> colours(["CCB", "other"])["CCB"] == METHOD_COLOURS["CCB"]
        True
    """
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
    """Create a figure of ``rows`` × ``columns`` panels.

    The figure is closed in pyplot. Otherwise a notebook shows it twice, and open figures pile up.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        height: Height of a row in inches. The width of the figure is `WIDTH`.
        share_y: Whether the panels share one y axis.

    Returns:
        The figure and its panels, row by row.

    Example:
        >>> len(panels(2, 3, height=1.0)[1])
        6
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
    """Check that values are shares.

    Args:
        values: Float array of any shape; NaN is ignored.
        name: Name of the values in the error.

    Raises:
        ValueError: A value lies outside 0…1.

    Example:
        >>> check_range(np.array([86.1]), "AUC")
        Traceback (most recent call last):
        ValueError: AUC from 86.1 to 86.1 given; 0…1 is needed.
    """
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            f"{name} from {np.nanmin(values):g} to {np.nanmax(values):g} given; 0…1 is needed."
        )
