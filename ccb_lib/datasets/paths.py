"""Finding the files of a data set."""

import os
import warnings
from pathlib import Path

from ccb_lib.datasets.base import data_root
from ccb_lib.io.image_files import ENDINGS, is_dicom


def set_folder(root: str | Path | None, name: str) -> Path:
    """Return the folder of a data set: ``name`` below the root, or a given root itself.

    Args:
        root: As for `ccb_lib.datasets.base.data_root`.
        name: The name of the data set's folder.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    folder = data_root(root)
    if (folder / name).is_dir():
        return folder / name
    if root is not None:
        return folder
    raise FileNotFoundError(
        f"No folder {name!r} in {folder.absolute()}. `ccb data fetch {name}` says how to get it."
    )


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted, without hidden files and hidden folders.

    Links to folders are not followed, since a cycle of links would never end.
    """
    return [Path(name) for name in names_below(folder)]


def names_below(folder: Path) -> list[str]:
    """Return the paths of `files_below` as strings: ten times faster to make and to sort."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        visible = (name for name in files if not name.startswith("."))
        found += [os.path.join(parent, name) for name in visible]  # noqa: PTH118
    return sorted(found)


def images_below(folder: Path) -> list[Path]:
    """Return all image files below a folder, DICOM included, sorted.

    A warning lists all other files.

    Pipes, devices and broken links are never opened; a second warning lists them.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No folder {folder.absolute()}. Give the folder that holds the images."
        )
    images, others, not_files = [], [], []
    for path in files_below(folder):
        if not path.is_file():
            not_files.append(path)
        elif path.suffix.lower() in ENDINGS or is_dicom(path):
            images.append(path)
        elif path.name.lower() not in ("thumbs.db", "desktop.ini"):
            others.append(path)
    _warn_of(others, folder, "files", "no images by their ending")
    _warn_of(not_files, folder, "entries", "no files (pipes, devices, or links to nothing)")
    return images


def _warn_of(left_out: list[Path], folder: Path, what: str, why: str) -> None:
    if left_out:
        names = ", ".join(str(path.relative_to(folder)) for path in left_out[:10])
        warnings.warn(
            f"{len(left_out)} {what} in {folder} are {why} and are left out: {names}"
            + (", …" if len(left_out) > 10 else ""),
            stacklevel=3,
        )
