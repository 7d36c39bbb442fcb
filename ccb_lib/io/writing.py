"""Atomic writing of files, and temporary folders that are always deleted."""

import errno
import hashlib
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_ENDING = ".ccb.part"  # of temporary folders; a hash of the machine's name precedes it
_LOCK = "lock"
_DAY = 24 * 3600.0
_swept: set[Path] = set()  # folders in which this process has deleted old temporary folders

_ADVICE = {
    errno.ENOSPC: "Free some space, or choose another folder.",
    errno.EDQUOT: "Free some space, or choose another folder.",
    errno.EFBIG: "The system allows no larger files here; choose another folder.",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` when the block ends without an error.

    If an exception or Ctrl-C ends the block, ``path`` keeps its content and the temporary file is
    deleted. The temporary files of a killed process are deleted by the next process that writes
    into the folder. An existing file keeps its permissions. If ``path`` is a link, its target is
    written.

    Args:
        path: The file to write; its folder is created if missing.

    Raises:
        IsADirectoryError: ``path`` is a folder.
        OSError: ``path`` is a device, a pipe or a socket, its folder cannot be written to, the disk
            is full, or another system error. The message names the file and the cause.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "notes.txt") as part:
        ...     characters = part.write_text("complete or absent")
        >>> (folder / "notes.txt").read_text()
        'complete or absent'
    """
    path = Path(path).expanduser()
    target = Path(os.path.realpath(path))
    mode = _mode_of(path)
    own = {None, str(target), str(target.parent)}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent, target.name) as folder:
            part = folder / f"new{target.suffix}"
            own |= {str(folder), str(part)}
            part.touch()
            usual = stat.S_IMODE(part.stat().st_mode)
            yield part
            part.chmod(usual if mode is None else mode)
            part.replace(target)
    except OSError as error:
        # Errors about other files, and errors with their own message, are raised unchanged.
        about = error.filename
        if error.errno is None or (about not in own and _ENDING not in str(about)):
            raise
        raise cannot_write(path, error) from error


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a hidden folder in ``parent`` and delete it when the block ends.

    A killed process cannot delete its folders. Therefore each process, before it makes its first
    folder in ``parent``, deletes the folders of ended processes. A running process holds a lock on
    a file in its folder, which the system releases when the process ends for any reason, so its
    folder is never deleted. Locks of another machine may not be visible here, so a folder of
    another machine is deleted only if it is also a day old.

    Args:
        parent: An existing folder.
        name: The beginning of the folder's name.

    Raises:
        OSError: ``parent`` cannot be written to.

    Example:
        >>> import tempfile
        >>> with temporary_folder(Path(tempfile.mkdtemp()), "download") as folder:
        ...     size = (folder / "file").write_bytes(b"")
        >>> folder.exists()
        False
    """
    _sweep(parent)
    # Cut to 60 characters: the file name may already be as long as the system allows.
    folder = parent / f".{name[:60]}.{secrets.token_hex(8)}.{_HOST}{_ENDING}"
    lock = None
    try:
        try:
            lock = _make_locked(folder)
            yield folder
        finally:
            if fcntl is None and lock is not None:
                os.close(lock)  # Windows deletes no open file
            _delete(folder)
    finally:
        _delete(folder)  # again, in case Ctrl-C came before or within the deletion above
        if fcntl is not None and lock is not None:
            os.close(lock)


def rename_unless_there(made: Path, target: Path) -> None:
    """Rename a complete new folder, unless another process made ``target`` meanwhile.

    Raises:
        OSError: ``target`` is no folder, or the system refuses.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "new").mkdir()
        >>> rename_unless_there(folder / "new", folder / "images")
    """
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():
            raise


@contextmanager
def locked(path: Path, busy: str = "") -> Iterator[None]:
    """Hold a lock on a file that other processes lock too; the system releases it at their end.

    Args:
        path: The lock file, which is left behind empty; its folder is created if missing.
        busy: What to raise if another process holds the lock; if empty, wait for the lock.

    Raises:
        RuntimeError: ``busy``, if it is given and another process holds the lock.
        OSError: The folder cannot be written to. The message names the file and the cause.

    Example:
        >>> import tempfile
        >>> with locked(Path(tempfile.mkdtemp()) / "x.lock"):
        ...     pass
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0 if busy else -1)
    except Timeout as error:
        raise RuntimeError(busy) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()


def cannot_write(path: Path, error: OSError) -> OSError:
    """Return an error that names the file, the cause and what to do."""
    advice = _ADVICE.get(error.errno or 0, "Choose a folder that you may write to.")
    return OSError(f"Cannot write {path}: {error.strerror or error}. {advice}")


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a regular file, or ``None`` if it does not exist; else raise."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_write(path, error) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            f"{path} is a folder. Give the name of a file, such as {path / 'name'}."
        )
    if not stat.S_ISREG(mode):
        raise OSError(
            f"{path} is a device, a pipe or a socket, not a file. Give the name of a file."
        )
    return stat.S_IMODE(mode)


def _make_locked(folder: Path) -> int:
    """Make a folder with a lock file, and return the descriptor of the locked file."""
    while True:
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102  (its error names the folder as text)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            if not folder.parent.is_dir():
                raise
            continue  # another process deleted the folder before it was locked
        if fcntl is not None:
            with suppress(OSError):  # network file systems without locks: nothing is deleted there
                fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK).exists():
            return lock
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Delete temporary folders of ended processes; once for each process and parent folder."""
    place = parent.absolute()
    if place in _swept:
        return
    _swept.add(place)
    with suppress(OSError):
        for folder in place.glob(f".*{_ENDING}"):
            _delete_if_stale(folder)


def _delete_if_stale(folder: Path) -> None:
    with suppress(OSError):
        old = time.time() - folder.lstat().st_mtime > _DAY
        here = folder.name.removesuffix(_ENDING).endswith(f".{_HOST}")
        if folder.is_symlink() or not (old or (here and fcntl is not None)):
            return
        if fcntl is None or not (folder / _LOCK).exists():
            _delete(folder)
            return
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: in use, or no locks
            _delete(folder)
        finally:
            os.close(lock)


def _delete(folder: Path) -> None:
    """Delete a folder and its lock file last, so that a folder without a lock file is empty."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
