"""What is opened, and how much memory an image may take."""

import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

MOST_PIXELS = 2**26  # of one image: 8192 × 8192; decoding and converting it takes about 1 GB

_LARGE = 2**22  # pixels from which images are decoded one at a time
_one_large = threading.Lock()


def check_regular(path: Path) -> None:
    """Refuse what is no regular file; of a link the file that it names counts.

    Opening a pipe would wait for whoever writes into it.

    Raises:
        FileNotFoundError: There is nothing at this path.
        ValueError: It is a folder, a pipe, a device or a socket.

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
    """Refuse an image by the size in its header, before memory is taken for it.

    Raises:
        ValueError: It has more than `MOST_PIXELS`.

    Example:
        >>> check_pixels(13_000, 13_000)
        Traceback (most recent call last):
            ...
        ValueError: 13,000 × 13,000 pixels; at most 67,108,864 (8192 × 8192) are read. Make it smaller
    """
    if width * height > MOST_PIXELS:
        side = round(MOST_PIXELS**0.5)
        raise ValueError(
            f"{width:,} × {height:,} pixels; at most {MOST_PIXELS:,} ({side} × {side}) are read. Make it smaller"
        )


def memory_for(pixels: int) -> AbstractContextManager:
    """Return a context to decode an image in: of large images one at a time, whatever the number of threads.

    Example:
        >>> with memory_for(13_000 * 5_000):
        ...     pass
    """
    return _one_large if pixels > _LARGE else nullcontext()


def unreadable(error: Exception) -> Exception:
    """Turn what a decoder raised on a damaged file, of whatever kind, into a ValueError.

    Returns:
        The error itself where it is one of the system's, a ValueError or an ImportError.

    Example:
        >>> unreadable(IndexError("index out of range"))
        ValueError('damaged, or of another kind (index out of range)')
    """
    of_system = isinstance(error, OSError) and error.errno is not None
    if of_system or isinstance(error, ValueError | ImportError):
        return error
    return ValueError(f"damaged, or of another kind ({str(error) or type(error).__name__})")
