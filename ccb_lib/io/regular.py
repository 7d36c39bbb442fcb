"""Which paths are opened: regular files alone, since opening a pipe waits for whoever writes into it."""

from pathlib import Path


def check_regular(path: Path) -> None:
    """Refuse what is no regular file; of a link the file that it names counts.

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
