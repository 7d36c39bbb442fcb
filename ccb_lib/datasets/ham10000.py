"""HAM10000 (Tschandl et al., 2018): 10,015 dermatoscopic images, split by lesion (7,470)."""

import os
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccb_lib.datasets.base import AnomalySplit, Images, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.catalog import ENTRIES
from ccb_lib.datasets.paths import names_below, set_folder
from ccb_lib.datasets.splits import choose_classes, normal_parts, rows_of
from ccb_lib.io.image_files import listing, read_images

CLASSES = tuple(ENTRIES["ham10000"].known)
NORMAL = ("nv", "bkl", "mel")  # as in the paper
RARE = tuple(name for name in CLASSES if name not in NORMAL)  # abnormal in the paper
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
# The tables of ISIC 2018 Task 3, which has the same images.
ISIC_TRUTH = "ISIC2018_Task3_Training_GroundTruth.csv"
ISIC_LESIONS = "ISIC2018_Task3_Training_LesionGroupings.csv"

Table = dict[str, NDArray[np.str_]]


def load(
    *,
    abnormal: str | Sequence[str],
    root: str | Path | None = None,
    normal: str | Sequence[str] = NORMAL,
    seed: int = 0,
    image_size: int = 32,
    test: str = "balanced",
    pool: int | None = None,
    calibration: float = 0.1,
) -> AnomalySplit:
    """Load HAM10000: the common diagnoses are normal, one or several others are abnormal.

    Many lesions were photographed several times, so the split is by lesion: all images of a lesion
    are in one part. One pool of held-out normal images is used for every abnormal class. Thus the
    training images do not depend on the abnormal class.

    Args:
        abnormal: One of akiec, bcc, bkl, df, mel, nv, vasc, or several as a list or joined by
            ``+``.
        root: The folder with ``ham10000`` in it, or that folder itself. It holds
            ``HAM10000_metadata.csv`` (or ``.tab``, or without file ending, as in the Dataverse) and
            ``ISIC_*.jpg``, both in any sub-folders. The two tables of ISIC 2018 Task 3 (training),
            which has the same images, may replace the metadata.
        normal: The normal classes; ``"nv"`` for nevi only.
        seed: Determines the part of each lesion.
        image_size: 32, 64 or 128 pixels, of a centred square resized with antialiasing.
        test: ``"balanced"``: all abnormal images and as many images of the pool. ``"natural"``: all
            abnormal images and the whole pool.
        pool: The minimum number of held-out normal images; by default the size of the largest class
            that is not normal. Increase it for a balanced test of several classes together.
        calibration: The share of the other normal images that is kept for calibration.

    Returns:
        The split, RGB. Ids are image ids (``ISIC_0024306``), groups lesion ids (``HAM_0000118``).

    Raises:
        FileNotFoundError: No such folder, or no metadata in it.
        ValueError: A class is unknown, or both normal and abnormal; the metadata is malformed;
            images are missing or cannot be read (all are listed); or the pool is too small for a
            balanced test.
    """
    good = choose_classes(normal, CLASSES, "ham10000")
    bad = choose_classes(abnormal, CLASSES, "ham10000")
    if both := sorted(set(good) & set(bad)):
        raise ValueError(
            f"ham10000: {', '.join(both)} cannot be normal and abnormal at once; normal is "
            f"{'+'.join(good)}. Choose another class, or pass normal=."
        )
    if test not in ("balanced", "natural"):
        raise ValueError(f"ham10000: test={test!r} given; 'balanced' or 'natural' is needed.")
    images = read(root, image_size=image_size)
    size = Counter(images.classes.tolist())
    if not any(size[name] for name in bad):
        raise ValueError(f"ham10000: There are no images of {'+'.join(bad)} in the metadata.")
    held_out = pool or max((size[name] for name in size if name not in good), default=1)
    parts = normal_parts(
        np.isin(images.classes, good),
        images.groups,
        images.ids,
        pool=held_out,
        seed=seed,
        calibration=calibration,
    )
    abnormal_rows = rows_of(np.isin(images.classes, bad), images.ids, seed)
    wanted = len(abnormal_rows) if test == "balanced" else len(parts.pool)
    if wanted > len(parts.pool):
        raise ValueError(
            f"ham10000: {wanted} images of {'+'.join(bad)} and only {len(parts.pool)} held-out "
            f"normals, so the test cannot be balanced. Pass pool={wanted} to hold out more, or "
            "test='natural'."
        )
    return make_split(
        "ham10000",
        "+".join(bad),
        images,
        train=parts.train,
        calibration=parts.calibration,
        test_normal=parts.pool[:wanted],
        test_abnormal=abnormal_rows,
    )


def read(root: str | Path | None = None, *, image_size: int = 32) -> Images:
    """Read all images in the order of their ids, from the cache if possible.

    Args:
        root: See `load`.
        image_size: 32, 64 or 128 pixels.

    Returns:
        (N, 3, image_size, image_size) uint8 with image ids, diagnoses and lesion ids.

    Raises:
        FileNotFoundError: No such folder, or no metadata in it.
        ValueError: The metadata is malformed, or images are missing or cannot be read (all are
            listed).
    """
    folder = set_folder(root, "ham10000")
    table, paths, missing = find(folder)
    if missing:
        first = ", ".join(missing[:20]) + (", …" if len(missing) > 20 else "")
        raise ValueError(
            f"ham10000: {len(missing)} of {len(table['image_id'])} images of the metadata are not "
            f"below {folder}: {first}. Unpack both image archives there; `ccb data check ham10000` "
            "counts what is found."
        )

    def decode() -> Images:
        pixels = read_images(paths, image_size=image_size, channels=3, progress="ham10000")
        return Images(
            pixels=pixels, ids=table["image_id"], classes=table["dx"], groups=table["lesion_id"]
        )

    facts = {key: column.tolist() for key, column in table.items()}
    return cached(
        folder,
        "ham10000",
        {"image_size": image_size, "files": fingerprint(paths, folder), **facts},
        decode,
    )


def find(folder: Path) -> tuple[Table, list[Path], list[str]]:
    """Find the metadata and the images, without decoding an image.

    Returns:
        The metadata by column, sorted by image id; the path of each image that was found, in that
        order (the first of several copies); and the ids of the missing images.

    Raises:
        FileNotFoundError: There is no metadata.
        ValueError: The metadata is malformed.
    """
    files = {name: name.rpartition(os.sep)[2] for name in names_below(folder)}
    # Reversed, so that the first of several copies is kept.
    first = {name: Path(path) for path, name in reversed(files.items())}
    tables = [first[name] for name in METADATA if name in first]
    if tables:
        table = read_metadata(tables[0])
    elif ISIC_TRUTH in first and ISIC_LESIONS in first:
        table = read_isic(first[ISIC_TRUTH], first[ISIC_LESIONS])
    else:
        raise FileNotFoundError(
            f"None of {', '.join(METADATA)} is in {folder.absolute()} or below, and not both of "
            f"{ISIC_TRUTH} and {ISIC_LESIONS}. `ccb data fetch ham10000` says where to get them."
        )
    path_of: dict[str, str] = {}
    for path, name in files.items():
        stem, _, ending = name.rpartition(".")
        if stem.startswith("ISIC_") and ending.lower() == "jpg":
            path_of.setdefault(stem, path)
    names = table["image_id"].tolist()
    found = [Path(path_of[name]) for name in names if name in path_of]
    return table, found, [name for name in names if name not in path_of]


def read_metadata(file: Path) -> Table:
    """Read lesion_id, image_id and dx from the metadata, with commas or, as ``.tab``, with tabs.

    Returns:
        The three columns, sorted by image_id.

    Raises:
        ValueError: A column is missing, a cell is empty, a diagnosis is unknown, or an image is
            named twice. All such rows are listed.
    """
    table = _columns(file, ("lesion_id", "image_id", "dx"))
    return _checked(file, list(table.itertuples(index=False, name=None)))


def read_isic(truth: Path, lesions: Path) -> Table:
    """Read the two tables of ISIC 2018 Task 3: the diagnosis and the lesion of each image.

    Args:
        truth: Columns ``image`` and MEL, NV, BCC, AKIEC, BKL, DF, VASC; one of these is 1 and the
            others 0.
        lesions: Columns ``image`` and ``lesion_id``.

    Returns:
        The three columns of `read_metadata`.

    Raises:
        ValueError: A table has other columns, an image has no lesion or not exactly one diagnosis,
            or as for `read_metadata`.
    """
    diagnoses = _columns(truth, ("image", *(dx.upper() for dx in CLASSES))).set_index("image")
    lesion_of = _columns(lesions, ("image", "lesion_id")).drop_duplicates("image")
    is_one = diagnoses.apply(pd.to_numeric, errors="coerce").eq(1)
    dx = np.where(is_one.sum(axis=1) == 1, is_one.idxmax(axis=1).str.lower(), "")
    lesion = diagnoses.index.map(lesion_of.set_index("image")["lesion_id"]).fillna("")
    return _checked(truth, list(zip(lesion, diagnoses.index, dx.tolist(), strict=True)))


def _columns(file: Path, names: Sequence[str]) -> pd.DataFrame:
    """Read columns of a table as text; an empty cell is an empty text.

    Raises:
        ValueError: The file is no table, a column is missing, or there are no rows.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        mark = "\t" if "\t" in text.partition("\n")[0] else ","
        table = pd.read_csv(StringIO(text), sep=mark, dtype=str, na_filter=False, index_col=False)
    except ValueError as error:
        raise ValueError(
            f"{file} cannot be read as a table ({str(error).strip()}). Download it again."
        ) from error
    missing = [name for name in names if name not in table.columns]
    if missing or table.empty:
        raise ValueError(
            f"{file} has {'no column ' + ', '.join(missing) if missing else 'no rows'}. Download "
            f"it again; its columns are {', '.join(names)} and more."
        )
    return table[list(names)].apply(lambda column: column.str.strip())


def _checked(file: Path, rows: list[tuple[str, ...]]) -> Table:
    """Check rows of (lesion, image, diagnosis), which begin in line 2 of ``file``.

    Returns:
        The three columns, sorted by image.
    """
    problems: dict[Path, str] = {}
    seen: dict[str, int] = {}
    for line, (lesion, image, dx) in enumerate(rows, start=2):
        if not lesion or not image or dx not in CLASSES:
            problems[Path(f"line {line}")] = (
                f"{lesion or 'no lesion'}, {image or 'no image'}, diagnosis {dx!r}"
            )
        elif image in seen:
            problems[Path(f"line {line}")] = f"{image} is already in line {seen[image]}"
        seen[image] = line
    if problems:
        what = f"{file}: {len(problems)} of {len(rows)} rows cannot be used"
        raise ValueError(
            listing(problems, what, f"Diagnoses are {', '.join(CLASSES)}. Download the file again.")
        )
    rows.sort(key=lambda row: row[1])
    return {
        name: np.array(column, dtype=np.str_)
        for name, column in zip(
            ("lesion_id", "image_id", "dx"), zip(*rows, strict=True), strict=True
        )
    }
