"""Types and functions shared by all data sets: `AnomalySplit`, `Images`, the data folder."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AnomalySplit:
    """Images split for one-class learning.

    Training and calibration images are normal. Test images are normal and abnormal.

    Attributes:
        name: The name of the data set in `load_dataset`.
        abnormal: The class or classes that count as abnormal, joined by ``+``; empty where there
            are none.
        train: (N, C, H, W) uint8 in 0…255, normal only.
        calibration: (M, C, H, W) uint8, normal only, none of them in ``train``.
        test: (K, C, H, W) uint8: normals in mixed order first, then the abnormal images.
        test_labels: (K,) bool, True for abnormal images.
        test_ids: (K,) str, the name of each image's source.
        test_groups: (K,) str: lesion, patient or slice, the unit that bootstrap intervals resample;
            the id itself if images are independent.
        test_classes: (K,) str, the class of each image, as the data set names it.
        train_ids, train_groups, calibration_ids, calibration_groups: The same for the other parts.
        notes: What the split leaves out and why, one line each.

    Example:
        >>> from ccb_lib import load_dataset
        >>> load_dataset("digits", abnormal=8).train.shape[1:]
        torch.Size([1, 32, 32])
    """

    name: str
    abnormal: str
    train: Tensor
    calibration: Tensor
    test: Tensor
    test_labels: NDArray[np.bool_]
    test_ids: NDArray[np.str_]
    test_groups: NDArray[np.str_]
    test_classes: NDArray[np.str_]
    train_ids: NDArray[np.str_] = field(repr=False)
    train_groups: NDArray[np.str_] = field(repr=False)
    calibration_ids: NDArray[np.str_] = field(repr=False)
    calibration_groups: NDArray[np.str_] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def image_size(self) -> int:
        """Height and width of every image, in pixels."""
        return int(self.train.shape[-1])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.train.shape[1])

    def __repr__(self) -> str:
        abnormal = int(self.test_labels.sum())
        size = f"{self.channels}×{self.image_size}×{self.image_size}"
        return (
            f"AnomalySplit({self.name!r}, abnormal={self.abnormal!r}, {size}:\n"
            f"  train {len(self.train)} normal, calibration {len(self.calibration)} normal,\n"
            f"  test {len(self.test) - abnormal} normal + {abnormal} abnormal"
            + "".join(f";\n  {note}" for note in self.notes)
            + ")"
        )


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images with their ids, classes and groups, before they are split.

    Readers of files return this type, and it is what the cache stores.

    Attributes:
        pixels: (N, C, H, W) uint8.
        ids, classes, groups: (N,) str each.
        skipped: What could not be used and why, one line each. Every load warns of it.
    """

    pixels: Tensor
    ids: NDArray[np.str_]
    classes: NDArray[np.str_]
    groups: NDArray[np.str_]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)


def make_split(
    name: str,
    abnormal: str,
    images: Images,
    *,
    train: NDArray[np.intp],
    calibration: NDArray[np.intp],
    test_normal: NDArray[np.intp],
    test_abnormal: NDArray[np.intp],
    notes: tuple[str, ...] = (),
) -> AnomalySplit:
    """Make an `AnomalySplit` from rows of ``images``.

    Args:
        name: The data set.
        abnormal: The abnormal class, or several joined by ``+``; empty if all images are normal.
        images: All images.
        train, calibration, test_normal, test_abnormal: Row numbers of each part, in the order
            wanted.
        notes: What was left out and why, one line each.

    Raises:
        ValueError: A part is empty. Only without an abnormal class may the test parts be empty.
    """
    parts = {"training": train, "calibration": calibration}
    if abnormal:
        parts |= {"normal test": test_normal, "abnormal test": test_abnormal}
    for part, rows in parts.items():
        if len(rows) == 0:
            raise ValueError(
                f"No {part} images are left in {name!r}. Give more images, or another split."
            )
    test = np.concatenate([test_normal, test_abnormal])
    labels = np.zeros(len(test), dtype=bool)
    labels[len(test_normal) :] = True
    return AnomalySplit(
        name=name,
        abnormal=abnormal,
        train=images.pixels[train],
        calibration=images.pixels[calibration],
        test=images.pixels[test],
        test_labels=labels,
        test_ids=images.ids[test],
        test_groups=images.groups[test],
        test_classes=images.classes[test],
        train_ids=images.ids[train],
        train_groups=images.groups[train],
        calibration_ids=images.ids[calibration],
        calibration_groups=images.groups[calibration],
        notes=notes,
    )


def named_root(root: str | Path | None = None) -> Path | None:
    """Return the folder that ``root`` or else ``$CCB_DATA`` names; ``None`` if neither does.

    It need not exist.
    """
    named = os.environ.get("CCB_DATA") or None if root is None else root
    return None if named is None else Path(named).expanduser()


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of all data sets.

    Args:
        root: The folder itself; by default ``$CCB_DATA``, else the nearest ``data/raw`` in the
            current folder or above.

    Raises:
        FileNotFoundError: None of these exists; the message lists the folders that were tried.
    """
    given = named_root(root)
    if given is not None:
        if not given.is_dir():
            where = "root=" if root is not None else "the environment variable CCB_DATA"
            raise FileNotFoundError(
                f"{where} names {given.absolute()}, which is no folder. Give the folder of the "
                "images."
            )
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "data" / "raw").is_dir():
            return folder / "data" / "raw"
    raise FileNotFoundError(
        f"No data/raw in {here} or above it, and CCB_DATA is not set. Give root=, set CCB_DATA, or "
        "run `ccb data fetch NAME` to see how to get a data set."
    )


def choose_class(abnormal: object, classes: tuple[str, ...], name: str) -> str:
    """Return ``abnormal`` as one of ``classes``; a number counts as its text.

    Raises:
        ValueError: It is ``None`` or not in ``classes``; the message lists the classes.
    """
    if abnormal is None:
        raise ValueError(
            f"Which class of {name!r} is abnormal? Give abnormal=, one of: {', '.join(classes)}."
        )
    wanted = str(abnormal)
    if isinstance(abnormal, bool) or wanted not in classes:
        raise ValueError(
            f"abnormal={abnormal!r} is no class of {name!r}. Choose one of: {', '.join(classes)}."
        )
    return wanted
