"""CIFAR-10 (Krizhevsky, 2009): 60,000 photographs, as pickled batches or as class folders."""

import io
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.contrib.concurrent import thread_map

from ccb_lib.datasets.base import AnomalySplit, Images, choose_class, data_root, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.catalog import ENTRIES
from ccb_lib.io.image_files import open_image

CLASSES = tuple(ENTRIES["cifar10"].known)
BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
_BATCH_FOLDER = "cifar-10-batches-py"  # the name torchvision's downloader gives
_SHAPE = (3, 32, 32)
_TOTAL = 60_000


def load(
    *,
    abnormal: Any,
    root: str | Path | None = None,
    seed: int = 0,
    image_size: int = 32,
    test: str = "all",
) -> AnomalySplit:
    """Load CIFAR-10 with one class abnormal and nine normal.

    The 45,000 normal training images are split by ``seed`` into 95 % for training and 5 % for
    calibration. The test part is the 9,000 normal test images, then the abnormal class. Images from
    class folders are first put into a seeded mixed order. Batches keep their official order, which
    is already mixed.

    Args:
        abnormal: A class name, such as ``"airplane"``.
        root: A folder that holds ``cifar-10-batches-py`` (from torchvision's downloader) or
            ``cifar10/{train,test}/<class>/``, or one of these folders itself; see `data_root` for
            the default.
        seed: Seeds the split, and the mixed order of class folders.
        image_size: 32, the only size of CIFAR-10.
        test: ``"all"`` tests all 6,000 images of the abnormal class, none of which is trained on,
            as the public Skip-GANomaly code does. ``"official"`` tests its 1,000 test images.

    Returns:
        Images (N, 3, 32, 32) uint8. Ids are ``train/`` or ``test/`` and the file name; each is its
        own group.

    Raises:
        ValueError: An unknown class, size or test, or damaged files.
        FileNotFoundError: There is no CIFAR-10 in the folder.
    """
    abnormal = choose_class(abnormal, CLASSES, "cifar10")
    if test not in ("all", "official"):
        raise ValueError(
            f"test={test!r} given; 'all' (9,000 + 6,000) or 'official' (9,000 + 1,000) is needed."
        )
    if image_size != 32:
        raise ValueError(f"image_size={image_size} given; CIFAR-10 is 32×32, so 32 is needed.")
    images, in_order = read(root)

    rng = np.random.default_rng(seed)
    rows = np.arange(len(images)) if in_order else rng.permutation(len(images))
    is_abnormal = (images.classes == abnormal)[rows]
    is_train = np.char.startswith(images.ids, "train/")[rows]
    normals = rng.permutation(rows[is_train & ~is_abnormal])
    held_out = round(0.05 * len(normals))
    return make_split(
        "cifar10",
        abnormal,
        images,
        train=normals[held_out:],
        calibration=normals[:held_out],
        test_normal=rows[~is_train & ~is_abnormal],
        test_abnormal=rows[is_abnormal if test == "all" else is_abnormal & ~is_train],
    )


def read(root: str | Path | None = None) -> tuple[Images, bool]:
    """Read all images, from the cache if possible.

    Args:
        root: See `load`.

    Returns:
        The images, and whether they are in the mixed order of the official batches.

    Raises:
        FileNotFoundError: There is no CIFAR-10 in the folder.
        ValueError: Files are missing or damaged.
    """
    base = data_root(root)
    for folder in (base, base / _BATCH_FOLDER, base / "cifar10" / _BATCH_FOLDER):
        if (folder / BATCHES[0]).is_file():
            facts = fingerprint(
                [folder / name for name in BATCHES if (folder / name).is_file()], folder
            )
            return _warn_if_incomplete(
                folder,
                cached(folder, "cifar10", {"batches": facts}, partial(_read_batches, folder)),
            ), True
    for folder in (base, base / "cifar10"):
        if (folder / "train" / CLASSES[0]).is_dir():
            folders = [folder / part / name for part in ("train", "test") for name in CLASSES]
            missing = [str(f.relative_to(folder)) for f in folders if not f.is_dir()]
            if missing:
                raise ValueError(
                    f"CIFAR-10 in {folder} lacks {', '.join(missing)}. Unpack it again."
                )
            facts = fingerprint(folders, folder)
            return _warn_if_incomplete(
                folder,
                cached(folder, "cifar10", {"folders": facts}, partial(_read_folders, folders)),
            ), False
    raise FileNotFoundError(
        f"No CIFAR-10 in {base.absolute()}: neither {_BATCH_FOLDER}/{BATCHES[0]} nor "
        f"cifar10/train/{CLASSES[0]}/. Download it with `ccb data fetch cifar10`, or give its "
        "folder as root=."
    )


def _warn_if_incomplete(folder: Path, images: Images) -> Images:
    if len(images) != _TOTAL:
        warnings.warn(
            f"CIFAR-10 in {folder} has {len(images):,} images, not {_TOTAL:,}. See `ccb data check "
            "cifar10`.",
            stacklevel=4,
        )
    return images


def _read_batches(folder: Path) -> Images:
    pixels, ids, classes = [], [], []
    for name in BATCHES:
        if not (folder / name).is_file():
            raise ValueError(f"CIFAR-10 in {folder} lacks {name}. Download it again.")
        try:
            batch = _ArraysOnly(io.BytesIO((folder / name).read_bytes()), encoding="latin1").load()
            data = np.asarray(batch["data"])
            labels = np.asarray(batch["labels"])
            if (
                data.dtype != np.uint8
                or data.shape != (len(labels), 3 * 32 * 32)
                or len(batch["filenames"]) != len(labels)
            ):
                raise ValueError(f"data {data.dtype} {data.shape} for {len(labels)} labels")
            if labels.ndim != 1 or not np.isin(labels, np.arange(len(CLASSES))).all():
                raise ValueError("labels that are not numbers from 0 to 9")
            classes.append(np.array(CLASSES)[labels])
        except (
            pickle.UnpicklingError,
            EOFError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            AttributeError,
            OverflowError,
            MemoryError,  # a damaged length
        ) as error:
            raise ValueError(
                f"{folder / name} is no CIFAR-10 batch ({error}). Download it again."
            ) from error
        pixels.append(torch.from_numpy(data.copy()).view(-1, *_SHAPE))
        part = "test" if name == "test_batch" else "train"
        ids.append(np.array([f"{part}/{file}" for file in batch["filenames"]], dtype=np.str_))
    names = np.concatenate(ids)
    return Images(torch.cat(pixels), ids=names, classes=np.concatenate(classes), groups=names)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles CIFAR-10's batches: only lists, text and numpy arrays, no code."""

    _ALLOWED = frozenset({"numpy.ndarray", "numpy.dtype", "_codecs.encode"}) | {
        f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")
    }

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no CIFAR-10 batch needs"
            )
        return super().find_class(module, name)


def _read_folders(folders: list[Path]) -> Images:
    files = [
        file
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.suffix in (".png", ".jpg", ".jpeg")
    ]

    def decode(file: Path) -> np.ndarray | str:
        try:
            with open_image(file) as image:
                pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            return (
                pixels
                if pixels.shape == _SHAPE
                else f"{file}: {pixels.shape[2]}×{pixels.shape[1]} px, not 32×32"
            )
        except (OSError, ValueError) as error:
            return f"{file}: {error}"

    # disable=None: no bar if the output is not a terminal
    bar = {"desc": "decoding CIFAR-10", "unit": " images", "leave": False, "disable": None}
    decoded = thread_map(decode, files, chunksize=256, **bar)
    broken = [result for result in decoded if isinstance(result, str)]
    if broken:
        raise ValueError(
            f"{len(broken)} images cannot be read. Unpack them again:\n  "
            + "\n  ".join(broken[:20])
        )
    ids = np.array([f"{file.parts[-3]}/{file.name}" for file in files], dtype=np.str_)
    classes = np.array([file.parent.name for file in files], dtype=np.str_)
    pixels = torch.from_numpy(np.stack(decoded))  # type: ignore[arg-type]
    return Images(pixels, ids=ids, classes=classes, groups=ids)
