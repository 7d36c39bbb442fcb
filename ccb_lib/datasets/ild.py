"""The Geneva ILD database (Depeursinge et al., 2012): lung CT with drawn regions, cut into patches.

The database may not be passed on: users apply to the MedGIFT group (HES-SO Valais). How it lies on disk was read from
public loaders and their notes, so whatever does not fit is named in a warning and left out, never guessed.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ccb_lib.datasets import lung_ct_98
from ccb_lib.datasets.base import AnomalySplit, Images, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.ild_files import FOLDERS, LungMasks, Report, find_folder, from_masks, from_text, patients
from ccb_lib.datasets.ild_rois import LABELS
from ccb_lib.datasets.patches import cut, find_patches
from ccb_lib.datasets.paths import files_below, set_folder
from ccb_lib.datasets.splits import choose_classes, normal_parts, rows_of
from ccb_lib.io.dicom import read_hounsfield
from ccb_lib.io.windows import LUNG_WINDOW, Window, check_window, to_window

PAPER_CLASSES = ("fibrosis", "micronodules", "emphysema", "ground_glass")  # abnormal in the paper, one at a time
SOURCES = ("text", "masks", "lung_ct_98")
NORMAL = "healthy"


def load(
    *,
    abnormal: str | Sequence[str],
    root: str | Path | None = None,
    source: str = "text",
    seed: int = 0,
    image_size: int = 32,
    test: str = "balanced",
    window: Window = LUNG_WINDOW,
    share: float = 0.75,
    pilot: bool = False,
    test_share: float = 0.3,
    calibration: float = 0.1,
) -> AnomalySplit:
    """Load lung CT patches: healthy tissue normal, one pattern of disease, or several, abnormal.

    Patches are split by patient. A patient with any abnormal pattern is never trained on, whichever is asked for, so
    the training patches are the same for all. For ``lung_ct_98`` see `ccb_lib.datasets.lung_ct_98`.

    Args:
        abnormal: One of `LABELS` but healthy, or several as a list or joined by ``+``.
        root: The folder with ``ild`` (or ``lung_ct_98``) in it, or the folder itself.
        source: ``"text"``, contours of ILD_DB_txtROIs; ``"masks"``, those of ILD_DB_volumeROIs; ``"lung_ct_98"``, 98
            other CT slices as a stand-in, never a reproduction.
        seed: Decides which patients train, calibrate and test.
        image_size: Size of the patches, 32, 64 or 128 pixels of the slice; they overlap by half.
        test: ``"balanced"``: as many normal as abnormal patches, the more numerous kind thinned in the order of the
            seed. ``"natural"``: all of both.
        window: Hounsfield units that become 0 and 255; the paper names none.
        share: The least share of a patch that its label covers.
        pilot: Also read HRCT_pilot, which does not count towards the paper's patients.
        test_share: The least share of the healthy patches held out to test on.
        calibration: The share of the other healthy patches kept for calibration.

    Returns:
        The split, grey. Ids are ``slice:row,column``, groups patients (slices in ``lung_ct_98``).

    Raises:
        FileNotFoundError: No such folder.
        ImportError: pydicom is not installed.
        ValueError: An unknown class or option, or nothing, or too little, that can be used.

    Warns:
        UserWarning: Lists every file, contour and label that could not be used.
    """
    if source not in SOURCES or test not in ("balanced", "natural"):
        raise ValueError(
            f"ild: source={source!r}, test={test!r} given; a source of {', '.join(map(repr, SOURCES))} and a test "
            "'balanced' or 'natural' are needed."
        )
    stand_in = source == "lung_ct_98"
    labels = lung_ct_98.LABELS if stand_in else LABELS
    bad = choose_classes(abnormal, [label for label in labels if label != NORMAL], "ild")
    if stand_in:
        if tuple(window) != LUNG_WINDOW or pilot:
            raise ValueError("ild: lung_ct_98 holds 8-bit images without Hounsfield units; it has no window or pilot.")
        images = lung_ct_98.read(root, size=image_size, share=share)
    else:
        images = read(root, source=source, size=image_size, window=window, share=share, pilot=pilot)
    if images.skipped:
        lines = "\n  ".join(images.skipped[:30]) + ("\n  …" if len(images.skipped) > 30 else "")
        warnings.warn(f"ild: {len(images.skipped)} things could not be used:\n  {lines}", stacklevel=2)

    healthy, is_bad = images.classes == NORMAL, np.isin(images.classes, bad)
    if stand_in:
        parts, tested = lung_ct_98.deal(images, test_share=test_share, calibration=calibration, seed=seed)
        is_bad &= tested
    else:
        held_out = int(np.ceil(test_share * healthy.sum()))
        parts = normal_parts(healthy, images.groups, images.ids, pool=held_out, seed=seed, calibration=calibration)
    normal_rows, bad_rows = parts.pool, rows_of(is_bad, images.ids, seed)
    if test == "balanced":
        each = min(len(normal_rows), len(bad_rows))
        normal_rows, bad_rows = normal_rows[:each], bad_rows[:each]
    return make_split(
        "lung_ct_98" if stand_in else "ild",
        "+".join(bad),
        images,
        train=parts.train,
        calibration=parts.calibration,
        test_normal=normal_rows,
        test_abnormal=bad_rows,
    )


def read(
    root: str | Path | None = None,
    *,
    source: str = "text",
    size: int = 32,
    window: Window = LUNG_WINDOW,
    share: float = 0.75,
    pilot: bool = False,
) -> Images:
    """Cut all patches of all labels, or take them from the cache.

    Args:
        root: See `load`, as for all but ``size``.
        source: ``"text"`` or ``"masks"``.
        size: Height and width of the patches, in pixels; they overlap by half.
        window: Hounsfield units that become 0 and 255.
        share: The least share of a patch that its label covers.
        pilot: Also read HRCT_pilot.

    Returns:
        (N, 1, size, size) uint8 with ids ``slice:row,column``, labels, and patients as groups; in ``skipped`` what
        could not be used.

    Raises:
        FileNotFoundError: No such folder, or not the database.
        ImportError: pydicom is not installed.
        ValueError: No patch could be cut.
    """
    window = check_window(window)
    folder = set_folder(root, "ild")
    database, lungs = find_folder(folder, source), find_folder(folder, "lungs")
    if database is None:
        raise FileNotFoundError(
            f"No {FOLDERS[source]} in {folder.absolute()} or two folders below. `ccb data fetch ild` says how to apply "
            "for the database."
        )
    everyone = patients(database, pilot)
    files = [file for _, path in everyone for file in files_below(path)]
    files += files_below(lungs) if lungs else []
    settings = {"source": source, "size": size, "window": window, "share": share, "pilot": pilot}

    def cut_all() -> Images:
        report, blocks, ids, classes, groups = Report(folder), [], [], [], []
        for name, path in tqdm(everyone, "ild", disable=None):
            masks = LungMasks(lungs / name if lungs else path / "none", report)
            for drawn in from_text(path, report) if source == "text" else from_masks(path, report):
                lung = masks.of(drawn.header)
                patches = find_patches(drawn.regions, size=size, stride=size // 2, share=share, lung=lung)
                if not patches:
                    continue
                try:
                    grey = to_window(read_hounsfield(drawn.header.path), window)
                except (ValueError, OSError) as error:
                    report.add(drawn.header.path, f"{error}; {len(patches)} patches are left out")
                    continue
                blocks.append(cut(grey, patches, size))
                where = drawn.header.path.relative_to(path).as_posix().removesuffix(".dcm")
                ids += [f"{name}/{where}:{patch.row},{patch.column}" for patch in patches]
                classes += [patch.label for patch in patches]
                groups += [name] * len(patches)
        if not blocks:
            problems = "\n  ".join(["", *report.lines[:30]])
            raise ValueError(f"No patch could be cut from {database} ({len(everyone)} patients).{problems}")
        return Images(
            pixels=torch.from_numpy(np.concatenate(blocks)[:, None]),
            ids=np.array(ids, dtype=np.str_),
            classes=np.array(classes, dtype=np.str_),
            groups=np.array(groups, dtype=np.str_),
            skipped=tuple(report.lines),
        )

    return cached(folder, "ild", {**settings, "files": fingerprint(files, folder)}, cut_all)
