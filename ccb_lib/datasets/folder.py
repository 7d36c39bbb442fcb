"""A user's own images, in folders or listed in a CSV file."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit, Images, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.csv_table import TABLE_ENDINGS, read_table
from ccb_lib.datasets.paths import images_below
from ccb_lib.datasets.splits import NormalParts, choose_classes, normal_parts, rows_of
from ccb_lib.io.image_files import is_grey, read_images
from ccb_lib.io.windows import Window


@dataclass(frozen=True)
class _Plan:
    """The label, group and part of each image, before images are decoded; one row per image."""

    base: Path
    paths: list[Path]
    ids: NDArray[np.str_]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    parts: NormalParts
    abnormal: NDArray[np.intp]
    abnormal_labels: tuple[str, ...]


def load(
    *,
    abnormal: str | Sequence[str] | None = "abnormal",
    root: str | Path | None = None,
    normal: str | Sequence[str] = "normal",
    seed: int = 0,
    image_size: int = 32,
    channels: int | None = None,
    window: Window | None = None,
    calibration: float = 0.1,
    test_share: float = 0.2,
) -> AnomalySplit:
    """Load a user's own images.

    ``root`` is one of these:

    - A folder with ``train/normal``, ``test/normal`` and ``test/abnormal``. Images may be in
      sub-folders. Several kinds of abnormal images may have one folder each below ``test``.
    - A CSV file with the columns ``path`` (relative to the folder of the CSV file), ``label`` and
      optionally ``group``, separated by commas, semicolons or tabs. Normal images are split by
      group, so that a patient, for example, is in one part only. A group with an abnormal image is
      in the test part.

    Normal images alone are enough: a folder with only ``train/normal``, or a CSV with only normal
    labels, and ``abnormal=None``. Then no AUC can be computed.

    Images may differ in size and kind (see `ccb_lib.io.image_files.read_images`); each is cropped
    to a centred square.

    Args:
        abnormal: The label, or folder below ``test``, of the abnormal images; several as a list or
            joined by ``+``. ``None`` if there are no abnormal images.
        root: The folder or the CSV file.
        normal: The label or labels, or folders, of the normal images, in the same form.
        seed: Determines which normal images calibrate and, for a CSV, which are held out to test
            on.
        image_size: 32, 64 or 128 pixels.
        channels: 1 for grey, 3 for RGB; ``None`` is grey if every image is grey, else RGB.
        window: The values of black and white in DICOM and other grey images of more than 8 bits.
        calibration: The share of the normal training images that is kept for calibration.
        test_share: For a CSV, at least this share of the normal images is held out to test on.

    Returns:
        The split. Ids are paths relative to the root; groups are those of the CSV, else the ids.

    Raises:
        FileNotFoundError: The folder or file does not exist.
        ValueError: A label is unknown, the CSV is malformed or names a file outside its folder,
            images cannot be read, or too few are left. The message lists all such rows or files.
    """
    if root is None:
        raise ValueError(
            "folder: root= is needed: a folder with train/normal, test/normal and test/abnormal, "
            "or a CSV file."
        )
    place = Path(root).expanduser()
    if place.is_file() and place.suffix.lower() in TABLE_ENDINGS:
        plan = _plan_table(place, normal, abnormal, seed, calibration, test_share)
    elif place.is_dir():
        plan = _plan_folders(place, normal, abnormal, seed, calibration)
    else:
        raise FileNotFoundError(
            f"No folder or CSV file at {place.absolute()}. Give a folder with train/normal, "
            "test/normal and test/abnormal, or a file ending in .csv, .tsv or .txt with the "
            "columns path and label."
        )
    # Images with other labels are not decoded.
    used = np.sort(np.concatenate([*plan.parts, plan.abnormal]))
    images = _decode(plan, used, image_size, channels, window)
    train, calibrating, pool, bad = (
        np.searchsorted(used, rows) for rows in (*plan.parts, plan.abnormal)
    )
    return make_split(
        "folder",
        "+".join(plan.abnormal_labels),
        images,
        train=train,
        calibration=calibrating,
        test_normal=pool,
        test_abnormal=bad,
    )


def _plan_folders(
    root: Path, normal: object, abnormal: object, seed: int, calibration: float
) -> _Plan:
    kinds = {
        side: [
            path.name
            for path in sorted((root / side).iterdir())
            if path.is_dir() and path.name[0] != "."
        ]
        if (root / side).is_dir()
        else []
        for side in ("train", "test")
    }
    if not kinds["train"] or (abnormal is not None and not kinds["test"]):
        existing = (
            ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folders"
        )
        raise ValueError(
            f"{root} holds {existing}; train/normal, test/normal and test/abnormal are needed. "
            "Sort the images into these, or give a CSV file with the columns path and label as "
            "root=."
        )
    good = choose_classes(normal, kinds["train"], f"{root.name}/train")
    good_tests = [kind for kind in kinds["test"] if kind in good]
    bad = _abnormal_of(
        abnormal, [kind for kind in kinds["test"] if kind not in good], f"{root.name}/test"
    )

    paths, labels, in_train = [], [], []
    for side, chosen in (("train", good), ("test", (*good_tests, *bad))):
        for kind in chosen:
            found = images_below(root / side / kind)
            paths += found
            labels += [kind] * len(found)
            in_train += [side == "train"] * len(found)
    ids = np.array([path.relative_to(root).as_posix() for path in paths], dtype=np.str_)
    is_train, is_bad = np.array(in_train, dtype=bool), np.isin(labels, bad)
    order = rows_of(is_train, ids, seed)
    n_calibration = max(1, round(calibration * len(order)))
    parts = NormalParts(
        train=order[n_calibration:],
        calibration=order[:n_calibration],
        pool=rows_of(~is_train & ~is_bad, ids, seed),
    )
    return _Plan(
        root,
        paths,
        ids,
        np.array(labels, dtype=np.str_),
        ids,
        parts,
        rows_of(is_bad, ids, seed),
        bad,
    )


def _abnormal_of(abnormal: object, others: list[str], name: str) -> tuple[str, ...]:
    """Return the abnormal classes: none if none was chosen and all classes are normal."""
    return () if abnormal is None and not others else choose_classes(abnormal, others, name)


def _plan_table(
    file: Path, normal: object, abnormal: object, seed: int, calibration: float, test_share: float
) -> _Plan:
    paths, ids, labels, groups = read_table(file)
    known = sorted(set(labels.tolist()))
    good = choose_classes(normal, known, file.name)
    bad = _abnormal_of(abnormal, [label for label in known if label not in good], file.name)
    is_good, is_bad = np.isin(labels, good), np.isin(labels, bad)
    others = Counter(labels[~is_good & ~is_bad].tolist())
    if others:
        counts = ", ".join(f"{count} {label!r}" for label, count in others.items())
        warnings.warn(f"{file.name}: images of other labels are left out: {counts}.", stacklevel=3)
    parts = normal_parts(
        is_good,
        groups,
        ids,
        pool=int(np.ceil(test_share * is_good.sum())),
        seed=seed,
        calibration=calibration,
    )
    return _Plan(file.parent, paths, ids, labels, groups, parts, rows_of(is_bad, ids, seed), bad)


def _decode(
    plan: _Plan,
    rows: NDArray[np.intp],
    image_size: int,
    channels: int | None,
    window: Window | None,
) -> Images:
    paths = [plan.paths[row] for row in rows]

    def read() -> Images:
        depth = channels or (1 if _all_grey(paths) else 3)
        pixels = read_images(
            paths, image_size=image_size, channels=depth, window=window, progress="images"
        )
        return Images(
            pixels=pixels, ids=plan.ids[rows], classes=plan.labels[rows], groups=plan.groups[rows]
        )

    settings = {
        "image_size": image_size,
        "channels": channels,
        "window": window,
        "files": fingerprint(paths, plan.base),
        "labels": plan.labels[rows].tolist(),
        "groups": plan.groups[rows].tolist(),
    }
    return cached(plan.base, "folder", settings, read)


def _all_grey(paths: list[Path]) -> bool:
    try:
        return all(is_grey(path) for path in paths)
    except (OSError, ValueError):
        return False  # a damaged file: read_images lists all damaged files
