"""Unpacking archives from others: nothing is written outside the folder, no link, no flood of bytes."""

import errno
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ccb_lib.io.writing import cannot_write, temporary_folder

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# Failures of the disk that is written to; all others are the archive's.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)

_LARGEST = 64 * 2**30  # bytes unpacked: several times the largest set in use here
_MOST = 100_000  # members; CIFAR-10 as image files has 60,000
_LONGEST = 2**16  # bytes of a member's name and other facts in an archive's own lists
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
        else:
            _untar(file, part)

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
        with _open_zip(file) as opened:
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
    with temporary_folder(folder.parent, folder.name) as part:
        new = part / "new"
        new.mkdir()
        try:
            extract(archive, new)
        except Exception as error:  # damaged archives raise many kinds
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise cannot_write(folder, error) from error
            raise ValueError(
                f"{archive} was not unpacked: {str(error) or type(error).__name__}. Download it again from its home, "
                "and do not unpack it by hand."
            ) from error
        new.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """Open a zip archive whose list of members, all of which ZipFile reads into memory, is not too long."""
    with archive.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # what ZipFile itself goes by
    if end and (end[zipfile._ECD_ENTRIES_TOTAL] > _MOST or end[zipfile._ECD_SIZE] > _MOST * _LONGEST):  # type: ignore[attr-defined]
        raise ValueError(f"it has more than {_MOST:,} members")
    return zipfile.ZipFile(archive)


def _unzip(archive: Path, folder: Path) -> None:
    with _open_zip(archive) as file:
        members = file.infolist()
        for member in members:
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{member.filename[:100]!r} is a link or a device")
        _check(((member.filename, member.file_size) for member in members), archive, folder)
        # zipfile reads no more bytes of a member than it declares, so the sizes above are kept.
        file.extractall(folder)


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses long names and other facts of members that would fill the memory: tarfile reads them whole."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        """Read one header of 512 bytes."""
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and member.size > _LONGEST:
            raise ValueError(f"a header says that it is {member.size:,} bytes long")
        return member


def _untar(archive: Path, folder: Path) -> None:
    try:
        opened = tarfile.open(archive, tarinfo=_BoundedTarInfo)  # noqa: SIM115  (closed below)
    except tarfile.ReadError as error:
        raise ValueError(f"it is neither zip nor tar ({error})") from error
    with opened as file:

        def members() -> Iterator[tuple[str, int]]:
            for member in file:
                if not (member.isfile() or member.isdir()):
                    raise ValueError(f"{member.name[:100]!r} is a link or a device")
                yield member.name, member.size
                # In one pass, as reading on decompresses all that was skipped. Nothing stays of what
                # is written here where a later member is refused.
                file.extract(member, folder, filter="data")  # the standard library's own guard, as a second one

        _check(members(), archive, folder)


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
