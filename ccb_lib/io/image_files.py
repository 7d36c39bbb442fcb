"""Reading image files, DICOM included, as uint8 squares."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from ccb_lib.io.limits import check_pixels, check_regular, memory_for, unreadable
from ccb_lib.io.windows import Window, to_window

# An explicit list: Pillow also reads formats that start other programs (EPS runs Ghostscript)
# or are no images.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
_COMMON_ENDINGS = (
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".tif",
    ".tiff",
    ".bmp",
    ".dib",
    ".gif",
    ".webp",
)
_OTHER_ENDINGS = (".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".avif")
ENDINGS = frozenset({*_COMMON_ENDINGS, *_OTHER_ENDINGS})
DICOM_ENDINGS = frozenset({".dcm", ".dicom", ".ima"})

_ORIENTATION = 0x0112  # the EXIF tag of the rotation
_WHITE_16_BIT = 65535  # the white value of 16-bit images


def read_images(
    paths: Sequence[Path],
    *,
    image_size: int,
    channels: int,
    window: Window | None = None,
    progress: str | None = None,
) -> Tensor:
    """Decode image files in parallel, crop each to a centred square, resize it with antialiasing.

    Args:
        paths: PNG, JPEG, TIFF, BMP, GIF, WebP, PNM, JPEG 2000, AVIF or DICOM files. EXIF rotation
            is applied, transparency is blended with black, 16-bit grey scaled to 8; of an animation
            the first frame is read.
        image_size: Height and width of the result, in pixels.
        channels: 1 for grey, 3 for RGB.
        window: The pixel values that become 0 and 255 in grey images of more than 8 bits
            (Hounsfield units in CT). ``None`` is 0 and 65535 for 16-bit files; for DICOM see
            `ccb_lib.io.dicom.read_image`.
        progress: The label of the progress bar; ``None`` shows no bar.

    Returns:
        (N, channels, image_size, image_size) uint8 in 0…255.

    Raises:
        ValueError: Files are missing or unreadable. The message lists them with their reasons.
    """
    images, broken = read_each(
        paths, image_size=image_size, channels=channels, window=window, progress=progress
    )
    if broken:
        raise ValueError(
            listing(
                broken,
                f"{len(broken)} of {len(paths)} images cannot be read",
                "Remove or replace them.",
            )
        )
    return images


def read_each(
    paths: Sequence[Path],
    *,
    image_size: int,
    channels: int,
    window: Window | None = None,
    progress: str | None = None,
) -> tuple[Tensor, dict[Path, str]]:
    """Decode like `read_images`, but continue after files that cannot be read.

    Returns:
        (N, channels, image_size, image_size) uint8, one row a path, black where a file could not be
        read; and the reason for each such path.
    """
    images = torch.zeros((len(paths), channels, image_size, image_size), dtype=torch.uint8)
    pixels = images.numpy()  # shares memory with the tensor

    def read(row: int) -> str | None:
        try:
            pixels[row] = _read(Path(paths[row]), image_size, channels, window)
        except Exception as error:  # decoders raise many types of error; each is reported
            return str(error) or type(error).__name__
        return None

    pool = ThreadPoolExecutor()
    try:
        # disable=None: no bar if the output is not a terminal (logs, pipes, built pages)
        rows = tqdm(
            pool.map(read, range(len(paths))),
            progress,
            len(paths),
            disable=None if progress else True,
        )
        reasons = list(rows)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, the remaining files are not decoded
    return images, {path: why for path, why in zip(paths, reasons, strict=True) if why is not None}


@contextmanager
def open_image(path: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open an image file of any file ending, for a ``with`` block.

    This is the only function of the library that opens files with Pillow. Errors of a decoder in
    the block become ValueErrors too. No message names the file; callers add its name.

    Args:
        path: A file, or an open binary file, of any format of `read_images` except DICOM.

    Yields:
        A PIL image whose pixels are not decoded yet.

    Raises:
        OSError: The file does not exist or cannot be read.
        ValueError: The format is not supported, the file is damaged, it has more than
            `ccb_lib.io.limits.MOST_PIXELS` pixels, or it is a TIFF of several images.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> Image.new("L", (4, 3)).save(file, format="PNG")
        >>> with open_image(file) as image:
        ...     image.size
        (4, 3)
    """
    if isinstance(path, Path):
        check_regular(path)
    Image.init()
    try:
        with Image.open(path, formats=[kind for kind in _FORMATS if kind in Image.OPEN]) as image:
            check_pixels(*image.size)
            frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            if frames > 1:
                raise ValueError(f"a TIFF stack of {frames} images; save each as a file of its own")
            yield image
    except Image.UnidentifiedImageError as error:
        raise ValueError("no image in a format that is read here") from error
    except Exception as error:  # damaged files raise many types of error
        raise unreadable(error) from error


def listing(problems: dict[Path, str], what: str, advice: str) -> str:
    """Join ``what``, at most 20 files with their reasons, and ``advice`` to one error message."""
    # A line break in a file name is escaped: it would look like another entry.
    lines = [
        str(path).replace("\n", "\\n") + f": {why}" for path, why in list(problems.items())[:20]
    ]
    if len(problems) > 20:
        lines.append(f"… and {len(problems) - 20} more")
    return f"{what}:\n  " + "\n  ".join(lines) + f"\n{advice}"


def square(
    image: Image.Image, image_size: int, channels: int, window: Window | None = None
) -> NDArray[np.uint8]:
    """Crop a PIL image to a centred square and resize it with antialiasing.

    Args:
        image: Any mode. EXIF rotation is applied, transparency is blended with black.
        image_size: Height and width of the result.
        channels: 1 for grey, 3 for RGB.
        window: See `read_images`.

    Returns:
        (channels, image_size, image_size) uint8.

    Raises:
        ValueError: The pixels are floats, or values outside 0…65535, and no window is given.
    """
    image = eight_bits(image, window).convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (image_size, image_size), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def eight_bits(image: Image.Image, window: Window | None = None) -> Image.Image:
    """Apply EXIF rotation, blend transparency with black, and convert to mode L (grey) or RGB.

    Raises:
        ValueError: As for `square`.
    """
    image.load()  # in PNG files, EXIF may follow the pixels
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)  # copies the image even without a rotation
    grey = _has_grey(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_eight_bits(np.asarray(image), window))
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), clear)
    return image.convert("L" if grey else "RGB")


def is_grey(path: Path) -> bool:
    """Return whether an image is grey, according to its header.

    A DICOM file without SamplesPerPixel counts as grey.
    """
    if is_dicom(path):
        from ccb_lib.io.dicom import is_grey as dicom_is_grey

        return dicom_is_grey(path)
    with open_image(path) as image:
        return _has_grey(image)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its file ending or the mark DICM after 128 bytes."""
    if path.suffix.lower() in DICOM_ENDINGS:
        return True
    if path.suffix.lower() in ENDINGS:
        return False
    check_regular(path)
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read(path: Path, image_size: int, channels: int, window: Window | None) -> NDArray[np.uint8]:
    if is_dicom(path):
        from ccb_lib.io.dicom import read_image

        return square(read_image(path, window), image_size, channels)
    with open_image(path) as image, memory_for(image.width * image.height):
        return square(image, image_size, channels, window)


def _has_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")


def _to_eight_bits(values: NDArray, window: Window | None) -> NDArray[np.uint8]:
    if window is not None:
        return to_window(values, window)
    low, high = values.min(initial=0), values.max(initial=0)
    if np.issubdtype(values.dtype, np.floating) or low < 0 or high > _WHITE_16_BIT:
        raise ValueError(
            f"{values.dtype} pixels from {low:g} to {high:g}: the values of black and white are "
            "unknown. Pass window=(low, high)"
        )
    if 0 < high < 4096:
        warnings.warn(
            "16-bit images whose values are all below 4096 become nearly black, since 65535 "
            "is white. If they hold 12 bits, pass window=(0, 4095).",
            stacklevel=2,
        )
    return to_window(values, (0, _WHITE_16_BIT))
