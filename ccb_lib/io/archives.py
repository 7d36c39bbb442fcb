"""Safe unpacking of zip and tar archives: no paths outside the folder, no links, bounded size."""

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

# Errors of the disk that is written to; all others count as errors of the archive.
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
)

_LARGEST = 64 * 2**30  # unpacked bytes: several times the size of the largest supported data set
_MOST = 100_000  # members; CIFAR-10 as image files has 60,000
_LONGEST = 2**16  # bytes of one member's name and other metadata
_DENSEST = 2000  # unpacked bytes for each packed byte; real masks of one colour reach about 1000


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar archive into a new folder: all of it or, on any error, nothing.

    Args:
        archive: A ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz`` file.
        folder: The folder to create; it must not exist.

    Returns:
        The files, sorted.

    Raises:
        FileNotFoundError: The archive does not exist.
        FileExistsError: The folder exists.
        ValueError: The file is no such archive or is damaged; a member is a link or a device, or
            has an absolute path, ``..``, a drive or a backslash; the archive needs a password; or
            its members are too many, or too large for this disk or for any data set.
        OSError: The folder cannot be written to.
    """

    def extract(file: Path, part: Path) -> None:
        if zipfile.is_zipfile(file):
            _unzip(file, part)
        else:
            _untar(file, part)

    return _into_new_folder(archive, folder, extract)


def unpack_members(archive: str | Path, folder: str | Path, wanted: re.Pattern[str]) -> list[Path]:
    """Unpack selected members of a zip archive, such as a wheel, into a new folder.

    Args:
        archive: A zip archive.
        folder: The folder to create; it must not exist.
        wanted: A pattern of the full names of the wanted members. Its first group is the path
            below ``folder``.

    Returns:
        The files, sorted.

    Raises:
        FileNotFoundError: The archive does not exist.
        FileExistsError: The folder exists.
        ValueError: The file is no zip archive, is damaged or unsafe (see `unpack`), or no member
            matches.
        OSError: The folder cannot be written to.
    """

    def extract(file: Path, part: Path) -> None:
        with _open_zip(file) as opened:
            found = [
                (m, match) for m in opened.infolist() if (match := wanted.fullmatch(m.filename))
            ]
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


def _into_new_folder(
    archive: str | Path, folder: str | Path, extract: Callable[[Path, Path], None]
) -> list[Path]:
    """Extract into a temporary folder and rename it: the new folder is complete or absent."""
    archive, folder = Path(archive).expanduser(), Path(folder).expanduser()
    if not archive.is_file():
        raise FileNotFoundError(
            f"No archive at {archive.absolute()}. Check the path, or download it first."
        )
    if folder.exists():
        raise FileExistsError(
            f"{folder.absolute()} already exists. Move it, or unpack to another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent, folder.name) as part:
        new = part / "new"
        new.mkdir()
        try:
            extract(archive, new)
        except ImportError:
            raise
        except Exception as error:  # damaged archives raise many types of error
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise cannot_write(folder, error) from error
            why = "too little memory" if isinstance(error, MemoryError) else str(error)
            raise ValueError(
                f"{archive} was not unpacked: {why or type(error).__name__}. Download it again "
                "from its source, and do not unpack it manually."
            ) from error
        new.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """Open a zip archive, but refuse a list of members too long to be read into memory."""
    # What ZipFile itself uses. If a Python lacks it, that is an ImportError, not a damaged archive.
    from zipfile import _ECD_ENTRIES_TOTAL, _ECD_SIZE, _EndRecData  # type: ignore[attr-defined]

    with archive.open("rb") as file:
        end = _EndRecData(file)
    if end and (end[_ECD_ENTRIES_TOTAL] > _MOST or end[_ECD_SIZE] > _MOST * _LONGEST):
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
        # zipfile reads no more bytes of a member than it declares, so the checked sizes hold.
        file.extractall(folder)


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses long names and other metadata, which tarfile would read into memory as a whole."""

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
                # Extracted in the same pass: a second pass would decompress everything again. If a
                # later member is refused, the files written here are deleted.
                # The filter is the standard library's own check, as a second safeguard.
                file.extract(member, folder, filter="data")

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
            raise ValueError(
                f"its members unpack to more than {limit:,} bytes or are more than {_MOST:,}"
            )
