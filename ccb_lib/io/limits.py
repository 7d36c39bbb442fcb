"""Limits on opened files: regular files only, and a bounded memory per image."""

import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

MOST_PIXELS = 2**26  # per image: 8192 × 8192; decoding and converting it takes about 1 GB

_LARGE = 2**22  # images of more pixels are decoded one at a time
_one_large = threading.Lock()


def check_regular(path: Path) -> None:
    """Raise if a path is no regular file; links are followed.

    Opening a pipe would block until another process writes into it.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The path is a folder, a pipe, a device or a socket.

    Example:
        >>> check_regular(Path("/dev/null"))
        Traceback (most recent call last):
            ...
        ValueError: a folder, a pipe, a device or a socket, not a file
    """
    if path.is_file():
        return
    if path.exists():
        raise ValueError("a folder, a pipe, a device or a socket, not a file")
    raise FileNotFoundError("there is no such file")


def check_pixels(width: int, height: int) -> None:
    """Raise if an image is too large, by the size in its header, before it is decoded.

    Raises:
        ValueError: The image has more than `MOST_PIXELS` pixels.

    Example:
        >>> check_pixels(13_000, 13_000)
        Traceback (most recent call last):
            ...
        ValueError: 13,000 × 13,000 pixels; at most 67,108,864 (8192 × 8192) are read. Make it
        smaller
    """
    if width * height > MOST_PIXELS:
        side = round(MOST_PIXELS**0.5)
        raise ValueError(
            f"{width:,} × {height:,} pixels; at most {MOST_PIXELS:,} ({side} × {side}) are read. "
            "Make it smaller"
        )


def memory_for(pixels: int) -> AbstractContextManager:
    """Return a context for decoding an image, which lets one thread at a time decode a large one.

    Example:
        >>> with memory_for(13_000 * 5_000):
        ...     pass
    """
    return _one_large if pixels > _LARGE else nullcontext()


def unreadable(error: Exception) -> Exception:
    """Convert any error of a decoder on a damaged file to a ValueError.

    Returns:
        The error itself if it is a system error, a ValueError or an ImportError.

    Example:
        >>> unreadable(IndexError("index out of range"))
        ValueError('damaged, or of another kind (index out of range)')
    """
    of_system = isinstance(error, OSError) and error.errno is not None
    if of_system or isinstance(error, ValueError | ImportError):
        return error
    return ValueError(f"damaged, or of another kind ({str(error) or type(error).__name__})")
