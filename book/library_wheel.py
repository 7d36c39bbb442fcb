"""Build the wheel and the source archive of the library, and check what they contain."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from ccb_lib.io import project_data

IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".gz", ".nii"}


def build(root: Path, folder: Path, kind: str = "wheel") -> Path:
    """Build the wheel (``kind="wheel"``) or the source archive (``"sdist"``) and check it.

    Args:
        root: The repository.
        folder: Where the file is written. Older ones of the library there are deleted.
        kind: ``"wheel"`` or ``"sdist"``.

    Returns:
        The file. The same sources give the same bytes.

    Raises:
        RuntimeError: hatchling failed; its output is in the message.
        ValueError: The file lacks data, or has something that does not belong in it.
    """
    pattern = "ccb_lib-*.whl" if kind == "wheel" else "ccb_lib-*.tar.gz"
    for old in folder.glob(pattern):
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder.resolve())]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"hatchling could not build the {kind}:\n{run.stdout}{run.stderr}")
    (built,) = folder.glob(pattern)
    if problems := problems_of(built, root):
        raise ValueError(f"{built.name}: " + "; ".join(problems))
    return built


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def problems_of(built: Path, root: Path) -> list[str]:
    """Compare a wheel or source archive with the repository.

    Args:
        built: The file.
        root: The repository.

    Returns:
        A sentence for each kind of file that is missing or does not belong; empty if all is well.
    """
    names = _names(built)
    inner = "ccb_lib/data" if built.suffix == ".whl" else "data"
    expected = {
        f"{inner}/{name}/{file.name}"
        for name in project_data.NAMES
        for file in (root / "data" / name).iterdir()
        if not file.name.startswith(".")
    }
    sources = (path for path in (root / "ccb_lib").rglob("*") if path.is_file())
    sources = (path for path in sources if "__pycache__" not in path.parts)
    expected |= {path.relative_to(root).as_posix() for path in sources}
    missing = expected - names
    wrong = [name for name in names if _does_not_belong(PurePosixPath(name))]
    problems = [f"missing: {', '.join(sorted(missing))}"] if missing else []
    return problems + ([f"does not belong: {', '.join(sorted(wrong))}"] if wrong else [])


def _names(built: Path) -> set[str]:
    """List the files of an archive; those of a source archive without its top folder."""
    if built.suffix == ".whl":
        return set(zipfile.ZipFile(built).namelist())
    with tarfile.open(built) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def _does_not_belong(path: PurePosixPath) -> bool:
    """Whether a file is an image, a test, or part of an unfinished run."""
    return (
        path.suffix.lower() in IMAGES
        or path.parts[0] in ("tests", "_build")
        or path.parts[:2] == ("data", "raw")
        or any(part.startswith(".") and part != ".gitignore" for part in path.parts)
    )
