"""Which rows train, calibrate and test: by group, so that no lesion or patient is on two sides."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit, choose_class


class NormalParts(NamedTuple):
    """Row numbers of normal images, each part in an order that the seed decides."""

    train: NDArray[np.intp]
    calibration: NDArray[np.intp]
    pool: NDArray[np.intp]  # held out: the normals to test on


def choose_classes(chosen: object, classes: Sequence[str], name: str) -> tuple[str, ...]:
    """Return one class or several, written as a list or joined by ``+``, each once and in the order of ``classes``.

    Raises:
        ValueError: One is no class of the data set; the message lists them.
    """
    wanted = chosen if isinstance(chosen, list | tuple | set | frozenset) else str(chosen).split("+")
    found = {choose_class(None if chosen is None else str(item).strip(), tuple(classes), name) for item in wanted}
    if not found:
        raise ValueError(f"No class of {name!r} was given. Choose some of: {', '.join(classes)}.")
    return tuple(item for item in classes if item in found)


def by_seed(names: Iterable[str], seed: int) -> list[str]:
    """Put distinct names into an order that looks random and depends on the seed and the names alone.

    The order is that of the SHA-256 of seed and name: the same on every machine and with every version of numpy, and
    a name that is added or missing leaves the order of the others as it was.
    """
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def normal_parts(
    normal: NDArray[np.bool_],
    groups: NDArray[np.str_],
    ids: NDArray[np.str_],
    *,
    pool: int,
    seed: int,
    calibration: float = 0.1,
) -> NormalParts:
    """Deal the normal images out by group.

    Groups that also hold an abnormal image go to the pool, whichever class is asked for; others follow in the order
    of the seed until the pool holds enough, then for calibration until that holds enough; the rest trains.

    Args:
        normal: (N,) True where an image is normal.
        groups: (N,) the lesion, patient or slice of each image.
        ids: (N,) the name of each image, distinct.
        pool: At least so many normal images are held out to test on.
        seed: Decides the split.
        calibration: At least this share of the normals that are left is kept for calibration, as far as one group
            stays to train on.

    Raises:
        ValueError: A part would stay empty; the message says how many groups there are.
    """
    mixed = set(groups[~normal].tolist())
    free = by_seed((group for group in groups[normal].tolist() if group not in mixed), seed)
    size = Counter(groups[normal].tolist())

    held = [group for group in size if group in mixed]
    have = sum(size[group] for group in held)
    while free and (have < pool or not held):
        held.append(free.pop(0))
        have += size[held[-1]]
    kept = _take_calibration(free, size, calibration)
    if not kept:
        raise ValueError(
            f"The normal images are too few to train, calibrate and test on: {int(normal.sum())} images in "
            f"{len(size)} groups (patients, lesions or the like), {len(mixed & set(size))} of which also hold abnormal "
            f"images and can only be tested on; {pool} images are to be held out. At least three groups are needed, "
            "two of them without abnormal images."
        )
    return _rows(normal, groups, ids, seed, (free, kept, held))


def mixed_parts(
    normal: NDArray[np.bool_],
    groups: NDArray[np.str_],
    ids: NDArray[np.str_],
    *,
    pool: int,
    seed: int,
    calibration: float = 0.1,
    first: Collection[str] = (),
) -> NormalParts:
    """Deal the normal images out by group where groups with normal images also hold abnormal ones.

    Where `normal_parts` finds too few groups without abnormal images, this trains on the normal images of mixed groups.
    The caller must leave out the abnormal images of the groups that train or calibrate.

    Args:
        normal, groups, ids, seed, calibration: See `normal_parts`.
        pool: At least so many normal images are held out to test on, as far as two groups stay.
        first: Groups that are held out before all others.

    Raises:
        ValueError: Fewer than three groups hold normal images.
    """
    size = Counter(groups[normal].tolist())
    free = sorted(by_seed(size, seed), key=lambda group: group not in first)  # stable: the rest keeps its order
    if len(free) < 3:
        raise ValueError(
            f"The normal images are too few to train, calibrate and test on: {int(normal.sum())} images in "
            f"{len(free)} groups (patients, lesions or the like). At least three groups are needed."
        )
    held = [free.pop(0)]
    while len(free) > 2 and sum(size[group] for group in held) < pool:
        held.append(free.pop(0))
    kept = _take_calibration(free, size, calibration)
    return _rows(normal, groups, ids, seed, (free, kept, held))


def _take_calibration(free: list[str], size: Counter[str], calibration: float) -> list[str]:
    """Move groups from the front of ``free`` until their share of the images is reached; one group stays."""
    left, spared, kept = sum(size[group] for group in free), 0, []
    while len(free) > 1 and (spared < calibration * left or not kept):
        kept.append(free.pop(0))
        spared += size[kept[-1]]
    return kept


def _rows(
    normal: NDArray[np.bool_], groups: NDArray[np.str_], ids: NDArray[np.str_], seed: int, sides: tuple[list[str], ...]
) -> NormalParts:
    """The rows of normal images in the groups that train, calibrate and are held out."""
    return NormalParts(*(rows_of(normal & np.isin(groups, side), ids, seed) for side in sides))


def rows_of(chosen: NDArray[np.bool_], ids: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Return the numbers of the chosen rows in the order in which `by_seed` puts their ids.

    Raises:
        ValueError: Two chosen rows have the same id.
    """
    row_of = {str(ids[row]): int(row) for row in np.flatnonzero(chosen)}
    if len(row_of) != np.count_nonzero(chosen):
        raise ValueError("Two images have the same id, so one would be lost. Give every image a name of its own.")
    return np.array([row_of[name] for name in by_seed(row_of, seed)], dtype=np.intp)


def balanced_draw(split: AnomalySplit, draw: int) -> AnomalySplit:
    """Return the split with as many normal as abnormal images to test on, the more numerous kind drawn anew.

    Training and calibration stay as they are. Which images are drawn, and in which order they come, follows from
    ``draw`` and the images' ids alone, as in `by_seed`. Abnormal images keep their order where all are used. Where all
    normals are, as for HAM10000's bcc, draws differ in their order alone, and so in who shares a batch.

    Args:
        split: With all images that may be drawn in its test, normals first.
        draw: A number; each gives another draw.

    Raises:
        ValueError: The test has no normal or no abnormal images.

    >>> from ccb_lib import load_dataset
    >>> split = balanced_draw(load_dataset("digits", abnormal=8), draw=1)
    >>> bool(split.test_labels.mean() == 0.5)
    True
    """
    normal, abnormal = (np.flatnonzero(split.test_labels == kept) for kept in (False, True))
    each = min(len(normal), len(abnormal))
    if not each:
        raise ValueError(
            f"{len(normal)} normal and {len(abnormal)} abnormal images given; both kinds are needed to balance a test."
        )
    if len(abnormal) > each:
        abnormal = _drawn(abnormal, split.test_ids, draw)[:each]
    test = np.concatenate([_drawn(normal, split.test_ids, draw)[:each], abnormal])
    columns = {name: getattr(split, name)[test] for name in ("test_labels", "test_ids", "test_groups", "test_classes")}
    return replace(split, test=split.test[test], **columns)


def _drawn(rows: NDArray[np.intp], ids: NDArray[np.str_], draw: int) -> NDArray[np.intp]:
    """Put rows into the order of a draw; its names differ from a split's, so that no draw repeats a seed's order."""
    row_of = {f"draw:{ids[row]}": int(row) for row in rows}
    return np.array([row_of[name] for name in by_seed(row_of, draw)], dtype=np.intp)
