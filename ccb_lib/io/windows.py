"""Intensity windows: the pixel values, such as Hounsfield units, of black and white."""

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]  # the pixel values that become 0 and 255; others are clipped
LUNG_WINDOW: Window = (-1000.0, 400.0)  # Hounsfield units: air to above soft tissue


def to_window(values: NDArray, window: Window) -> NDArray[np.uint8]:
    """Map ``window`` linearly to 0…255, rounding to nearest; values outside are clipped.

    Args:
        values: Numbers of any shape and dtype, such as Hounsfield units.
        window: The values that become 0 and 255, lower first.

    Returns:
        uint8 of the same shape. NaN becomes 0, like the lower value.

    Raises:
        ValueError: The window is not two finite numbers in increasing order.
    """
    low, high = check_window(window)
    scaled = np.array(values, dtype=np.float64)  # the only copy, since images may be large
    scaled -= low
    scaled *= 255.0 / (high - low)
    np.nan_to_num(scaled, copy=False, nan=0.0)
    return np.clip(scaled, 0, 255, out=scaled).round(out=scaled).astype(np.uint8)


def check_window(window: Window) -> Window:
    """Return ``window`` as two floats.

    Raises:
        ValueError: It is not two finite numbers in increasing order.
    """
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"window={window!r} given; two numbers are needed, such as window=(-1000, 400)."
        ) from error
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"window=({low:g}, {high:g}) given; the lower value comes first, such as "
            "window=(-1000, 400)."
        )
    return low, high
