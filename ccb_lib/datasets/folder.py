"""A user's own images: in folders, or named by a CSV of path and label."""

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
    """Which image is what, before any is decoded: one row an image."""

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

    ``root`` is one of two things:

    - a folder with ``train/normal``, ``test/normal`` and ``test/abnormal``; images may lie in folders further down.
      Several kinds of abnormal images may have a folder each below ``test``.
    - a CSV file with the columns ``path`` (relative to the CSV's folder) and ``label``, and perhaps ``group``.
      Normal images are split by group: a patient, say, is trained on or tested on, never both. A group with an
      abnormal image is tested on. Commas, semicolons and tabs are understood.

    Normal images alone will do: a folder with ``train/normal`` only, or a CSV with normal labels only, and
    ``abnormal=None``. There is then nothing to compute an AUC on.

    Images may differ in size and kind (see `ccb_lib.io.image_files.read_images`); each is cropped to a centred square.

    Args:
        abnormal: The label, or folder below ``test``, of the abnormal images; several as a list or joined by ``+``.
            ``None`` where there are none.
        root: The folder or the CSV file.
        normal: Likewise for the normal images.
        seed: Decides which normals calibrate and, for a CSV, which are held out to test on.
        image_size: 32, 64 or 128 pixels.
        channels: 1 for grey, 3 for RGB; ``None`` takes grey if every image is grey.
        window: The values that become black and white in DICOM and other deep grey images.
        calibration: The share of the training normals kept for calibration.
        test_share: For a CSV, the least share of the normals that is held out to test on.

    Returns:
        The split. Ids are paths relative to the root; groups are those of the CSV, else the ids.

    Raises:
        FileNotFoundError: There is no such folder or file.
        ValueError: A label is unknown, the CSV is malformed or names a file outside its folder, images cannot be
            read, or too few are left. All broken rows or files are listed.
    """
    if root is None:
        raise ValueError(
            "folder: root= is needed: a folder with train/normal, test/normal and test/abnormal, or a CSV file."
        )
    place = Path(root).expanduser()
    if place.is_file() and place.suffix.lower() in TABLE_ENDINGS:
        plan = _plan_table(place, normal, abnormal, seed, calibration, test_share)
    elif place.is_dir():
        plan = _plan_folders(place, normal, abnormal, seed, calibration)
    else:
        raise FileNotFoundError(
            f"No folder or CSV file at {place.absolute()}. Give a folder with train/normal, test/normal and "
            "test/abnormal, or a file ending in .csv, .tsv or .txt with the columns path and label."
        )
    used = np.sort(np.concatenate([*plan.parts, plan.abnormal]))  # other labels are not decoded
    images = _decode(plan, used, image_size, channels, window)
    train, spared, pool, bad = (np.searchsorted(used, rows) for rows in (*plan.parts, plan.abnormal))
    return make_split(
        "folder",
        "+".join(plan.abnormal_labels),
        images,
        train=train,
        calibration=spared,
        test_normal=pool,
        test_abnormal=bad,
    )


def without_abnormal(root: str | Path | None, normal: str | Sequence[str] = "normal") -> bool:
    """Whether a folder or CSV file holds normal images alone, so that ``abnormal`` may be left out.

    Args:
        root: As for `load`.
        normal: As for `load`.

    Example:
        >>> without_abnormal(None)
        False
    """
    place = Path(root or "").expanduser()
    try:
        if root is not None and place.is_dir():
            return not _plan_folders(place, normal, None, seed=0, calibration=0.1).abnormal_labels
        if root is not None and place.is_file():
            return not _plan_table(place, normal, None, seed=0, calibration=0.1, test_share=0.2).abnormal_labels
    except (OSError, ValueError):
        pass  # `load` says what is wrong
    return False


def _plan_folders(root: Path, normal: object, abnormal: object, seed: int, calibration: float) -> _Plan:
    kinds = {
        side: [path.name for path in sorted((root / side).iterdir()) if path.is_dir() and path.name[0] != "."]
        if (root / side).is_dir()
        else []
        for side in ("train", "test")
    }
    if not kinds["train"] or (abnormal is not None and not kinds["test"]):
        there = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folders"
        raise ValueError(
            f"{root} holds {there}; train/normal, test/normal and test/abnormal are needed. Sort the images into "
            "these, or give a CSV file with the columns path and label as root=."
        )
    good = choose_classes(normal, kinds["train"], f"{root.name}/train")
    good_tests = [kind for kind in kinds["test"] if kind in good]
    bad = _abnormal_of(abnormal, [kind for kind in kinds["test"] if kind not in good], f"{root.name}/test")

    paths, labels, trains = [], [], []
    for side, chosen in (("train", good), ("test", (*good_tests, *bad))):
        for kind in chosen:
            found = images_below(root / side / kind)
            paths += found
            labels += [kind] * len(found)
            trains += [side == "train"] * len(found)
    ids = np.array([path.relative_to(root).as_posix() for path in paths], dtype=np.str_)
    is_train, is_bad = np.array(trains, dtype=bool), np.isin(labels, bad)
    order = rows_of(is_train, ids, seed)
    spared = max(1, round(calibration * len(order)))
    parts = NormalParts(
        train=order[spared:], calibration=order[:spared], pool=rows_of(~is_train & ~is_bad, ids, seed)
    )  # fmt: skip
    return _Plan(root, paths, ids, np.array(labels, dtype=np.str_), ids, parts, rows_of(is_bad, ids, seed), bad)


def _abnormal_of(abnormal: object, others: list[str], name: str) -> tuple[str, ...]:
    """Return the abnormal classes among those that are not normal: none if there are no others and none was chosen."""
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
    plan: _Plan, rows: NDArray[np.intp], image_size: int, channels: int | None, window: Window | None
) -> Images:
    paths = [plan.paths[row] for row in rows]

    def read() -> Images:
        depth = channels or (1 if _all_grey(paths) else 3)
        pixels = read_images(paths, image_size=image_size, channels=depth, window=window, progress="images")
        return Images(pixels=pixels, ids=plan.ids[rows], classes=plan.labels[rows], groups=plan.groups[rows])

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
        return False  # a broken file: read_images names it and all others
