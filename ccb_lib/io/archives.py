"""Unpacking archives from others: nothing is written outside the folder, no link, no flood of bytes."""

import gzip
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# What the standard library raises on damaged archives; RuntimeError asks for a password.
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, RuntimeError)

_LARGEST = 64 * 2**30  # bytes unpacked: several times the largest set in use here
_MOST = 1_000_000  # members
_DENSEST = 2000  # unpacked bytes for each packed one; honest masks of one colour reach about 1000


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar archive into a new folder: all of it or, if anything is wrong, nothing.

    Args:
        archive: A ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz`` file.
        folder: The folder to make; it must not be there yet.

    Returns:
        The files, sorted.

    Raises:
        FileNotFoundError: There is no such archive.
        FileExistsError: The folder is there.
        ValueError: No such archive or a damaged one; a member with an absolute path, ``..``, a drive or a backslash,
            a link or a device; a password; or too many or too large members for this disk or for any data set.
        OSError: The folder cannot be written to.
    """

    def extract(file: Path, part: Path) -> None:
        if zipfile.is_zipfile(file):
            _unzip(file, part)
        elif tarfile.is_tarfile(file):
            _untar(file, part)
        else:
            raise ValueError("it is neither zip nor tar")

    return _into_new_folder(archive, folder, extract)


def unpack_members(archive: str | Path, folder: str | Path, wanted: re.Pattern[str]) -> list[Path]:
    """Unpack only some members of a zip archive, such as a wheel, into a new folder.

    Args:
        archive: A zip archive.
        folder: The folder to make; it must not be there yet.
        wanted: Matches the whole names of the members that are wanted; its first group is the path below ``folder``.

    Returns:
        The files, sorted.

    Raises:
        FileNotFoundError: There is no such archive.
        FileExistsError: The folder is there.
        ValueError: It is no zip archive, damaged or unsafe (see `unpack`), or has no such member.
        OSError: The folder cannot be written to.
    """

    def extract(file: Path, part: Path) -> None:
        with zipfile.ZipFile(file) as opened:
            found = [(m, match) for m in opened.infolist() if (match := wanted.fullmatch(m.filename))]
            if not found:
                raise ValueError(f"no member matches {wanted.pattern!r}")
            _check(((match[1], member.file_size) for member, match in found), file, part)
            for member, match in found:
                target = part / match[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                # Written as a plain file, so a link in the archive cannot become one on disk.
                with opened.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)

    return _into_new_folder(archive, folder, extract)


def _into_new_folder(archive: str | Path, folder: str | Path, extract: Callable[[Path, Path], None]) -> list[Path]:
    """Extract into a temporary folder and rename it, so that the new folder is whole or not there."""
    archive, folder = Path(archive).expanduser(), Path(folder).expanduser()
    if not archive.is_file():
        raise FileNotFoundError(f"No archive at {archive.absolute()}. Check the path, or download it first.")
    if folder.exists():
        raise FileExistsError(f"{folder.absolute()} is there already. Move it away, or unpack to another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        try:
            extract(archive, part)
        except (*_DAMAGED, ValueError) as error:
            raise ValueError(
                f"{archive} was not unpacked: {error}. Download it again from its home, and do not unpack it by hand."
            ) from error
        part.chmod(0o755)  # mkdtemp makes it private
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{member.filename[:100]!r} is a link or a device")
        _check(((member.filename, member.file_size) for member in members), archive, folder)
        # zipfile reads no more bytes of a member than it declares, so the sizes above are kept.
        file.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:

        def members() -> Iterator[tuple[str, int]]:
            for member in file:
                if not (member.isfile() or member.isdir()):
                    raise ValueError(f"{member.name[:100]!r} is a link or a device")
                yield member.name, member.size

        _check(members(), archive, folder)
        file.extractall(folder, filter="data")  # the standard library's own guard, as a second one


def _check(members: Iterator[tuple[str, int]], archive: Path, folder: Path) -> None:
    limit = min(_LARGEST, shutil.disk_usage(folder).free, _DENSEST * archive.stat().st_size + 2**20)
    total = 0
    for count, (name, size) in enumerate(members, start=1):
        windows = PureWindowsPath(name)
        if (
            PurePosixPath(name).is_absolute()
            or windows.drive
            or windows.root
            or ".." in windows.parts
            or "\\" in name
            or "\0" in name
        ):
            raise ValueError(f"{name[:100]!r} would lie outside its folder")
        total += size
        if total > limit or count > _MOST:
            raise ValueError(f"its members unpack to more than {limit:,} bytes or are more than {_MOST:,}")
