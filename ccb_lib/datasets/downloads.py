"""Downloads of CIFAR-10 and HAM10000 with torchvision's downloader."""

from pathlib import Path

from ccb_lib.io.archives import unpack
from ccb_lib.io.writing import rename_unless_there, temporary_folder

ISIC = "https://isic-challenge-data.s3.amazonaws.com/2018/"
ISIC_FILES = (  # small files first, so that an unreachable server is noticed at once
    "ISIC2018_Task3_Training_LesionGroupings.csv",
    "ISIC2018_Task3_Training_GroundTruth.zip",
    "ISIC2018_Task3_Training_Input.zip",
)


def fetch_cifar10(root: Path) -> str:
    """Download CIFAR-10's batches into a folder and check them with torchvision's MD5 digest.

    Args:
        root: The folder of all data sets; created if missing.

    Returns:
        A message for the user that says what was done.

    Raises:
        OSError: No connection, or the folder cannot be written to.
        ValueError: The archive is damaged.
    """
    from torchvision.datasets import CIFAR10

    target = root / CIFAR10.base_folder
    if target.is_dir():
        return f"{target} already exists; `ccb data check cifar10` counts its images."
    root.mkdir(parents=True, exist_ok=True)
    with temporary_folder(root, "cifar10") as part:
        advice = f"download {CIFAR10.url} in another way and unpack it so that {target} exists"
        archive = _download(
            CIFAR10.url, part, CIFAR10.filename, CIFAR10.tgz_md5, "CIFAR-10", advice
        )
        unpack(archive, part / "new")
        rename_unless_there(part / "new" / CIFAR10.base_folder, target)
    return f"CIFAR-10 is in {target}."


def fetch_ham10000(root: Path, base: str = ISIC) -> str:
    """Download HAM10000 as the training set of ISIC 2018 Task 3: the same 10,015 images, 2.8 GB.

    Files of an earlier call are kept. No digest is published, so archives are checked by their own
    checksums, and `ccb data check ham10000` counts the images.

    Args:
        root: The folder of all data sets; created if missing.
        base: The URL of the folder with `ISIC_FILES`.

    Returns:
        A message for the user that says what was done.

    Raises:
        OSError: No connection, or the folder cannot be written to.
        ValueError: An archive is damaged; files downloaded before it are kept.
    """
    folder = root / "ham10000"
    if _is_whole(folder):
        return f"HAM10000 is already in {folder}."
    root.mkdir(parents=True, exist_ok=True)
    for name in ISIC_FILES:
        target = folder / name.removesuffix(".zip")
        if target.exists():
            continue
        with temporary_folder(root, "ham10000") as part:
            file = _download(
                base + name, part, name, None, name, "get HAM10000 from the Harvard Dataverse"
            )
            folder.mkdir(exist_ok=True)
            if name.endswith(".zip"):
                unpack(file, part / "new")
                rename_unless_there(part / "new", target)
            else:
                file.rename(target)
    return f"HAM10000 is in {folder}; `ccb data check ham10000` counts its images."


def _is_whole(folder: Path) -> bool:
    from ccb_lib.datasets import ham10000

    try:
        return not ham10000.find(folder)[2]
    except (FileNotFoundError, ValueError):
        return False


def _download(url: str, folder: Path, name: str, md5: str | None, what: str, advice: str) -> Path:
    from torchvision.datasets.utils import download_url

    try:
        download_url(url, folder, name, md5)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"{what} could not be downloaded ({error}). Try again; or {advice}."
        ) from error
    return folder / name
