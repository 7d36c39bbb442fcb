"""Splits by group: all images of a lesion or patient are in one part."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit, choose_class


class NormalParts(NamedTuple):
    """Row numbers of normal images by part; the seed determines the order in each part."""

    train: NDArray[np.intp]
    calibration: NDArray[np.intp]
    pool: NDArray[np.intp]  # held out: the normals to test on


def choose_classes(chosen: object, classes: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the chosen classes, each once and in the order of ``classes``.

    Args:
        chosen: One class, or several as a list or joined by ``+``.
        classes: All classes of the data set.
        name: The data set, for error messages.

    Raises:
        ValueError: A chosen class is not in ``classes``; the message lists them.
    """
    wanted = (
        chosen if isinstance(chosen, list | tuple | set | frozenset) else str(chosen).split("+")
    )
    found = {
        choose_class(None if chosen is None else str(item).strip(), tuple(classes), name)
        for item in wanted
    }
    if not found:
        raise ValueError(f"No class of {name!r} was given. Choose some of: {', '.join(classes)}.")
    return tuple(item for item in classes if item in found)


def by_seed(names: Iterable[str], seed: int) -> list[str]:
    """Sort distinct names into a pseudorandom order that depends only on seed and names.

    Names are sorted by the SHA-256 hash of seed and name. So the order is the same on every machine
    and with every version of numpy, and an added or removed name does not change the order of the
    others.
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
    """Split the normal images by group.

    Groups that also hold an abnormal image go to the pool, for every choice of abnormal classes.
    The other groups are taken in the order of the seed: first for the pool until it is large
    enough, then for calibration until that is large enough. The remaining groups train.

    Args:
        normal: (N,) bool, True for normal images.
        groups: (N,) str, the lesion, patient or slice of each image.
        ids: (N,) str, the distinct names of the images.
        pool: At least this number of normal images is held out to test on.
        seed: Determines the split.
        calibration: At least this share of the remaining normal images is kept for calibration,
            unless no group would remain to train on.

    Raises:
        ValueError: A part would be empty; the message gives the number of groups.
    """
    mixed = set(groups[~normal].tolist())
    free = by_seed((group for group in groups[normal].tolist() if group not in mixed), seed)
    size = Counter(groups[normal].tolist())

    held_out = [group for group in size if group in mixed]
    held_out_images = sum(size[group] for group in held_out)
    while free and (held_out_images < pool or not held_out):
        held_out.append(free.pop(0))
        held_out_images += size[held_out[-1]]
    kept = _take_calibration(free, size, calibration)
    if not kept:
        raise ValueError(
            f"The normal images are too few to train, calibrate and test on: {int(normal.sum())} "
            f"images in {len(size)} groups (patients, lesions or the like), "
            f"{len(mixed & set(size))} of which also hold abnormal images and can only be tested "
            f"on; {pool} images are to be held out. At least three groups are needed, two of "
            "them without abnormal images."
        )
    return _rows(normal, groups, ids, seed, (free, kept, held_out))


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
    """Split the normal images by group where groups hold both normal and abnormal images.

    Where `normal_parts` finds too few groups without abnormal images, this trains on the normal
    images of mixed groups. The caller must leave out the abnormal images of the groups that train
    or calibrate.

    Args:
        normal, groups, ids, seed, calibration: See `normal_parts`.
        pool: At least this number of normal images is held out to test on, unless fewer than two
            groups would remain.
        first: Groups to hold out before all others.

    Raises:
        ValueError: Fewer than three groups hold normal images.
    """
    size = Counter(groups[normal].tolist())
    # sorted() is stable: the other groups keep their order.
    free = sorted(by_seed(size, seed), key=lambda group: group not in first)
    if len(free) < 3:
        raise ValueError(
            f"The normal images are too few to train, calibrate and test on: {int(normal.sum())} "
            f"images in {len(free)} groups (patients, lesions or the like). At least three groups "
            "are needed."
        )
    held_out = [free.pop(0)]
    while len(free) > 2 and sum(size[group] for group in held_out) < pool:
        held_out.append(free.pop(0))
    kept = _take_calibration(free, size, calibration)
    return _rows(normal, groups, ids, seed, (free, kept, held_out))


def _take_calibration(free: list[str], size: Counter[str], calibration: float) -> list[str]:
    """Remove groups from ``free`` until they reach their share of images; at least one remains."""
    available, taken_images, kept = sum(size[group] for group in free), 0, []
    while len(free) > 1 and (taken_images < calibration * available or not kept):
        kept.append(free.pop(0))
        taken_images += size[kept[-1]]
    return kept


def _rows(
    normal: NDArray[np.bool_],
    groups: NDArray[np.str_],
    ids: NDArray[np.str_],
    seed: int,
    sides: tuple[list[str], ...],
) -> NormalParts:
    """Return the rows of normal images in the groups that train, calibrate and are held out."""
    return NormalParts(*(rows_of(normal & np.isin(groups, side), ids, seed) for side in sides))


def rows_of(chosen: NDArray[np.bool_], ids: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Return the numbers of the chosen rows, in the order of their ids by `by_seed`.

    Raises:
        ValueError: Two chosen rows have the same id.
    """
    row_of = {str(ids[row]): int(row) for row in np.flatnonzero(chosen)}
    if len(row_of) != np.count_nonzero(chosen):
        raise ValueError(
            "Two images have the same id, so one would be lost. Give every image a name of its own."
        )
    return np.array([row_of[name] for name in by_seed(row_of, seed)], dtype=np.intp)


def balanced_draw(split: AnomalySplit, draw: int) -> AnomalySplit:
    """Return the split with a balanced test part: the larger class is drawn again.

    Training and calibration parts do not change. The drawn images and their order depend only on
    ``draw`` and the images' ids, as in `by_seed`. If all abnormal images are used, they keep their
    order. If all normal images are used, as for bcc of HAM10000, draws differ only in their order,
    and therefore in the batches that the images are scored in.

    Args:
        split: Its test part has all images that may be drawn, normal images first.
        draw: The number of the draw; each number gives another draw.

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
            f"{len(normal)} normal and {len(abnormal)} abnormal images given; both kinds are "
            "needed to balance a test."
        )
    # Ids get a prefix, so that the order of a draw never equals that of a split with the same seed.
    ids = np.char.add("draw:", split.test_ids)
    if len(abnormal) > each:
        abnormal = rows_of(split.test_labels, ids, draw)[:each]
    return with_tests(
        split, np.concatenate([rows_of(~split.test_labels, ids, draw)[:each], abnormal])
    )


def with_tests(split: AnomalySplit, rows: NDArray[np.intp]) -> AnomalySplit:
    """Return the split with these rows of its test part, in this order."""
    columns = ("test", "test_labels", "test_ids", "test_groups", "test_classes")
    return replace(split, **{name: getattr(split, name)[rows] for name in columns})
