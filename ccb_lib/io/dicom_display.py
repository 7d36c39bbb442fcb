"""From the stored values of a DICOM file to 8 bits: rescaling, windows, lookup tables, palettes.

The file's own window, lookup tables and palette are applied by `pydicom.pixels`, as the standard
defines them (PS3.3 C.11.1, C.11.2 and C.7.6.3).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

from ccb_lib.io.dicom_tags import integer, numbers
from ccb_lib.io.windows import Window, to_window

_BAND = 2**22  # pixels converted at a time: each needs up to about 60 bytes


def grey_levels(
    raw: NDArray[Any], data: Dataset, slope: float, intercept: float, window: Window | None
) -> NDArray[np.uint8]:
    """Convert stored values to grey levels.

    Args:
        raw: (H, W) stored values.
        data: The file that holds them.
        slope, intercept: Of its rescaling; not used if it has a modality lookup table instead.
        window: The rescaled values that become 0 and 255. ``None`` is the file's own VOI lookup
            table or window, with its function LINEAR, LINEAR_EXACT or SIGMOID; or else the range of
            all values that its bits can hold.

    Returns:
        (H, W) uint8; 255 is the highest value.

    Raises:
        ValueError: A lookup table or the window is not valid.

    Example:
        >>> from pydicom.dataset import Dataset
        >>> data = Dataset()
        >>> data.WindowCenter, data.WindowWidth, data.VOILUTFunction = 2, 4, "LINEAR_EXACT"
        >>> grey_levels(np.array([[0, 2, 4]]), data, 1.0, 0.0, None)
        array([[  0, 128, 255]], dtype=uint8)
    """
    if window is None:
        convert = _own_conversion(data, slope, intercept)
    else:
        convert = lambda values: to_window(values, window)  # noqa: E731
    grey = np.empty(raw.shape, np.uint8)
    rows = max(1, _BAND // raw.shape[1])
    for first in range(0, len(raw), rows):
        band = slice(first, first + rows)
        grey[band] = convert(_rescaled(raw[band], data, slope, intercept))
    return grey


def _rescaled(raw: NDArray[Any], data: Dataset, slope: float, intercept: float) -> NDArray[Any]:
    if data.get("ModalityLUTSequence"):
        # int64: pydicom computes places in the table in the dtype of the values
        return apply_modality_lut(raw.astype(np.int64), data)
    return raw * slope + intercept


def _own_conversion(
    data: Dataset, slope: float, intercept: float
) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """Return the conversion of rescaled values to grey levels that the file asks for."""
    if table := _table(data, "VOILUTSequence"):
        entries, first, depth = (int(number) for number in table.LUTDescriptor)
        last = first + (entries or 2**16) - 1
        # pydicom computes places in the table with as many bits as an entry has. With 16 bits every
        # place exists.
        table.LUTDescriptor = [entries, first, 16]
        return lambda values: to_window(
            apply_voi(values.round().clip(first, last).astype(np.int64), data), (0, 2**depth - 1)
        )
    centre, width = numbers(data, "WindowCenter"), numbers(data, "WindowWidth")
    if centre and width and width[0] > 0:
        function = str(data.get("VOILUTFunction") or "LINEAR").upper()
        if function == "LINEAR" and width[0] < 1:
            raise ValueError(
                f"its WindowWidth is {width[0]:g}; a LINEAR window needs at least 1. Give a window"
            )
        # pydicom scales to the range of the file's bits. Those of 8 bits are grey levels.
        eight = Dataset()
        eight.PhotometricInterpretation, eight.VOILUTFunction = "MONOCHROME2", function
        eight.BitsStored, eight.PixelRepresentation = 8, 0
        eight.WindowCenter, eight.WindowWidth = centre[0], width[0]
        # exp overflows far from the centre, and the result is then exact: 0 or 255
        silent = np.errstate(over="ignore")
        return silent(lambda values: apply_windowing(values, eight).round().astype(np.uint8))
    return lambda values: to_window(values, _range(data, slope, intercept))


def _table(data: Dataset, tag: str) -> Dataset | None:
    """Return the first lookup table of a sequence, or ``None``."""
    tables = data.get(tag) or [None]
    return tables[0] if tables[0] and {"LUTDescriptor", "LUTData"} <= set(tables[0].dir()) else None


def _range(data: Dataset, slope: float, intercept: float) -> Window:
    """Return the lowest and the highest value that the file can hold."""
    if table := _table(data, "ModalityLUTSequence"):
        return 0, 2 ** int(table.LUTDescriptor[2]) - 1
    bits, signed = integer(data, "BitsStored", 16), integer(data, "PixelRepresentation", 0)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high


def palette_colours(raw: NDArray[Any], data: Dataset) -> NDArray[np.uint8]:
    """Look up the colours of stored values in the file's palette.

    Args:
        raw: (H, W) stored values.
        data: The file that holds them.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: The palette is segmented, since a segmented palette of a few bytes can claim
            gigabytes; or has more than 256 colours of 8 bits, of which pydicom finds the first 256.
    """
    entries, _, depth = (int(number) for number in data.RedPaletteColorLookupTableDescriptor)
    stored = len(data.get("RedPaletteColorLookupTableData") or b"")
    if not stored or stored < 2 * entries > 512:
        raise ValueError(
            "its palette is segmented, or has more than 256 colours of 8 bits, and is not read; "
            "save it as PNG"
        )
    colours = apply_color_lut(raw, data)[..., :3]  # a fourth channel is opacity
    return (colours >> (depth - 8)).astype(np.uint8)
