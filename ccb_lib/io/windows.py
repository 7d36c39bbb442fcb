"""Windows: which pixel values, such as Hounsfield units, become black and white."""

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]  # the pixel values that become 0 and 255; all others are clipped to these
LUNG_WINDOW: Window = (-1000.0, 400.0)  # Hounsfield units: air to above soft tissue


def to_window(values: NDArray, window: Window) -> NDArray[np.uint8]:
    """Map ``window`` linearly to 0…255, rounding to nearest; values outside are clipped.

    Args:
        values: Numbers of any shape and dtype, such as Hounsfield units.
        window: The values that become 0 and 255.

    Raises:
        ValueError: The window is not two finite numbers, the lower first.
    """
    low, high = check_window(window)
    scaled = np.array(values, dtype=np.float64)  # the one copy; images may be large
    scaled -= low
    scaled *= 255.0 / (high - low)
    np.nan_to_num(scaled, copy=False, nan=0.0)
    return np.clip(scaled, 0, 255, out=scaled).round(out=scaled).astype(np.uint8)


def check_window(window: Window) -> Window:
    """Return ``window`` as two floats, or raise a ValueError that says what is wrong with it."""
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError) as error:
        raise ValueError(f"window={window!r} given; two numbers are needed, such as window=(-1000, 400).") from error
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"window=({low:g}, {high:g}) given; the lower value comes first: window=(-1000, 400), say.")
    return low, high
