"""Reading DICOM images; needs pydicom."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ccb_lib.io.dicom_tags import integer, numbers
from ccb_lib.io.limits import MOST_PIXELS, check_pixels, check_regular, memory_for, unreadable
from ccb_lib.io.windows import LUNG_WINDOW, Window

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_P, _R = ParamSpec("_P"), TypeVar("_R")

_MOST_INFLATED = 4 * MOST_PIXELS  # bytes; a pixel has up to 3
PADDING = -2000  # the raw value outside the scanner's round field of view


@dataclass(frozen=True)
class Header:
    """The tags that give the position of a slice or mask in its series.

    Attributes:
        path: The file.
        series: SeriesInstanceUID, empty where the file has none.
        number: InstanceNumber, ``None`` where the file has none.
        location: SliceLocation in mm, else the z of ImagePositionPatient, else ``None``.
        size: (rows, columns).
    """

    path: Path
    series: str
    number: int | None
    location: float | None
    size: tuple[int, int]


def _checked(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a reader raise a ValueError where pydicom raises another type of error.

    pydicom parses a tag at its first use, so any access to a damaged file may raise.
    """

    @wraps(read)
    def checked(*args: _P.args, **options: _P.kwargs) -> _R:
        try:
            return read(*args, **options)
        except Exception as error:
            raise unreadable(error) from error

    return checked


@_checked
def read_header(path: Path) -> Header:
    """Read the position of a slice in its series, without its pixels.

    Raises:
        ImportError: pydicom is not installed.
        ValueError: The file is no DICOM image.
    """
    data = _read(path, pixels=False)
    position = numbers(data, "ImagePositionPatient")
    location = (numbers(data, "SliceLocation") or position[2:3] or [None])[0]
    number = (numbers(data, "InstanceNumber") or [None])[0]
    return Header(
        path=path,
        series=str(data.get("SeriesInstanceUID") or ""),
        number=None if number is None else int(number),
        location=location,
        size=(integer(data, "Rows"), integer(data, "Columns")),
    )


@_checked
def read_hounsfield(path: Path, padding: int | None = PADDING) -> NDArray[np.float32]:
    """Read a CT slice in Hounsfield units: HU = slope × raw + intercept.

    Args:
        path: A DICOM file of one grey image.
        padding: Pixels of this raw value are set to 0 first, as the Geneva database requires;
            ``None`` changes no pixel.

    Returns:
        (H, W) float32.

    Raises:
        ImportError: pydicom is not installed.
        ValueError: The file is no DICOM image, or has no slope or no intercept.
    """
    data = _read(path)
    slope, intercept = _rescale(data)
    raw = _slice(data)
    values = raw.astype(np.float32)
    if padding is not None:
        values[raw == padding] = 0
    return values * np.float32(slope) + np.float32(intercept)


@_checked
def read_mask(path: Path) -> NDArray[np.int64]:
    """Read a mask: raw pixel values, which are label numbers, as (H, W) int64.

    Raises:
        ImportError: pydicom is not installed.
        ValueError: The file is no DICOM image of one grey slice.
    """
    return _slice(_read(path)).astype(np.int64)


@_checked
def read_image(path: Path, window: Window | None = None) -> Image.Image:
    """Read a DICOM file of one image as 8 bits.

    Args:
        path: A DICOM file of one image, grey or colour.
        window: The pixel values that become 0 and 255: Hounsfield units for CT, rescaled values
            otherwise. ``None`` is −1000…400 HU for CT, and the file's own window for other files;
            see `ccb_lib.io.dicom_display.grey_levels`.

    Returns:
        A PIL image of mode L or RGB. MONOCHROME1, where low values are white, is inverted.

    Raises:
        ImportError: pydicom is not installed.
        ValueError: The file is no DICOM image, has several frames, or is a CT slice without slope
            and intercept.
    """
    data = _read(path)
    with memory_for(integer(data, "Rows") * integer(data, "Columns")):
        return _as_image(data, window)


def _as_image(data: "FileDataset", window: Window | None) -> Image.Image:
    from ccb_lib.io.dicom_display import grey_levels, palette_colours  # it needs pydicom

    pixels = _pixels(data)
    if pixels.ndim == 3 and pixels.dtype == np.uint8 and integer(data, "SamplesPerPixel") == 3:
        return Image.fromarray(pixels)
    if pixels.ndim != 2:
        raise ValueError(
            f"pixels of shape {pixels.shape}; one image of grey values or 8-bit colours is needed"
        )
    if _is_palette(data):
        return Image.fromarray(palette_colours(pixels, data))
    ct = data.get("Modality") == "CT"
    slope, intercept = _rescale(data, needed=ct)
    if ct and window is None:
        window = LUNG_WINDOW
    grey = grey_levels(pixels, data, slope, intercept, window)
    return Image.fromarray(
        255 - grey if data.get("PhotometricInterpretation") == "MONOCHROME1" else grey
    )


@_checked
def is_grey(path: Path) -> bool:
    """Return whether a DICOM file is a grey image, according to its header."""
    data = _read(path, pixels=False)
    return integer(data, "SamplesPerPixel") == 1 and not _is_palette(data)


def _is_palette(data: "FileDataset") -> bool:
    return data.get("PhotometricInterpretation") == "PALETTE COLOR"


def _read(path: Path, pixels: bool = True) -> "FileDataset":
    pydicom = import_pydicom()
    check_regular(path)
    try:
        _check_inflated(path)
        # force: old files lack the DICM mark after 128 bytes. Whether the file is an image is
        # checked below.
        data = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    except (OSError, ImportError):
        raise
    except Exception as error:  # damaged files raise many types of error
        raise ValueError(f"no DICOM file, or a damaged one ({error})") from error
    if not data.get("Rows") or not data.get("Columns") or (pixels and "PixelData" not in data):
        raise ValueError("no DICOM image: it has no rows, columns or pixels")
    check_pixels(integer(data, "Columns"), integer(data, "Rows") * integer(data, "NumberOfFrames"))
    return data


def _check_inflated(path: Path) -> None:
    """Raise if a deflated file is too large inflated, since pydicom inflates it as a whole."""
    # Private functions are imported by name: if a release lacks them, that is an ImportError, not
    # a damaged file.
    from pydicom.filereader import (
        _read_command_set_elements,
        _read_file_meta_info,
        read_preamble,
    )
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with path.open("rb") as file:
        read_preamble(file, force=True)
        meta = _read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        _read_command_set_elements(file)
        inflating, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        rest = file.read()
        while rest and total <= _MOST_INFLATED:
            total += len(inflating.decompress(rest, 2**20))
            rest = inflating.unconsumed_tail
    if total > _MOST_INFLATED:
        raise ValueError(f"it inflates to more than {_MOST_INFLATED:,} bytes")


def _slice(data: "FileDataset") -> NDArray[Any]:
    """Return the raw values of one grey slice, (H, W)."""
    if _is_palette(data):
        raise ValueError("its values are places in a palette; one grey slice is needed")
    raw = _pixels(data)
    if raw.ndim != 2:
        raise ValueError(f"pixels of shape {raw.shape}; one grey slice is needed")
    return raw


def _pixels(data: "FileDataset") -> NDArray[Any]:
    pydicom = import_pydicom()
    if "TransferSyntaxUID" not in data.file_meta:
        # The default of the standard.
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    try:
        return pydicom.pixels.pixel_array(data)  # YBR becomes RGB
    except Exception as error:  # truncated pixels, or a compression without a decoder
        raise ValueError(f"its pixels cannot be decoded ({error})") from error


def _rescale(data: "FileDataset", needed: bool = True) -> tuple[float, float]:
    slope, intercept = numbers(data, "RescaleSlope"), numbers(data, "RescaleIntercept")
    if slope and intercept:
        return slope[0], intercept[0]
    if not needed:
        return 1.0, 0.0
    raise ValueError(
        "it has no RescaleSlope or no RescaleIntercept, so its values are no Hounsfield "
        "units; remove the file, or add the tags of its scanner"
    )


def import_pydicom() -> Any:
    """Return the module pydicom.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ImportError(
            "Reading and writing DICOM needs pydicom, which is not installed. "
            "Run: pip install pydicom"
        ) from error
    return pydicom
