"""The Geneva ILD database (Depeursinge et al., 2012): lung CT with drawn regions, cut into patches.

The database may not be redistributed: users apply to the MedGIFT group (HES-SO Valais). Its file
format is known here from public loaders and their notes only. Whatever does not fit is therefore
left out and listed in a warning, and nothing is guessed.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ccb_lib.datasets import chest_ct, lung_ct_98
from ccb_lib.datasets.base import AnomalySplit, Images, make_split
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.ild_files import (
    FOLDERS,
    LungMasks,
    Report,
    find_folder,
    from_masks,
    from_text,
    patients,
)
from ccb_lib.datasets.ild_rois import LABELS
from ccb_lib.datasets.patches import assemble, cut, find_patches
from ccb_lib.datasets.paths import files_below, set_folder
from ccb_lib.datasets.splits import NormalParts, choose_classes, mixed_parts, normal_parts, rows_of
from ccb_lib.io.dicom import read_hounsfield
from ccb_lib.io.windows import LUNG_WINDOW, Window, check_window, to_window

# Abnormal in the paper, one at a time.
PAPER_CLASSES = ("fibrosis", "micronodules", "emphysema", "ground_glass")
SOURCES = ("text", "masks", "lung_ct_98", "chest-ct")
NORMAL = "healthy"


def load(
    *,
    abnormal: str | Sequence[str] | None = None,
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
    """Load lung CT patches: healthy tissue is normal, one or several disease patterns are abnormal.

    Patches are split by patient. A patient with any abnormal pattern is a test patient, so the
    training patches do not depend on the abnormal class. If too few patients have healthy tissue
    only, patients with disease are trained on too: see `split_patches`. For the other sources see
    `ccb_lib.datasets.lung_ct_98` and `ccb_lib.datasets.chest_ct`.

    Args:
        abnormal: One of `LABELS` except healthy, or several as a list or joined by ``+``.
            ``chest-ct`` has one class, ``"mass"``, which is optional.
        root: The folder with ``ild`` (``lung_ct_98``, ``chest-ct``) in it, or that folder itself.
        source: ``"text"``: contours of ILD_DB_txtROIs. ``"masks"``: masks of ILD_DB_volumeROIs.
            ``"lung_ct_98"``: 98 other CT slices, a stand-in and no reproduction.
            ``"chest-ct"``: one patient with one mass, a demonstration.
        seed: Determines the part of each patient.
        image_size: Size of the patches, 32, 64 or 128 pixels of the slice; they overlap by half.
        test: ``"balanced"``: as many normal as abnormal patches; patches of the larger class are
            dropped in the order of the seed. ``"natural"``: all of both.
        window: The Hounsfield units that become 0 and 255; the paper gives none.
        share: At least this share of a patch is covered by its label.
        pilot: Also read HRCT_pilot, whose patients are not among the paper's.
        test_share: At least this share of the healthy patches is held out to test on.
        calibration: The share of the other healthy patches that is kept for calibration.

    Returns:
        The split, grey. Ids are ``slice:row,column``, groups patients (slices in ``lung_ct_98`` and
        ``chest-ct``); ``notes`` counts what was left out.

    Raises:
        FileNotFoundError: The folder does not exist.
        ImportError: pydicom, or for ``chest-ct`` nibabel, is not installed.
        ValueError: An unknown class or option, or too few usable patches or patients.

    Warns:
        UserWarning: Lists every file, contour and label that could not be used.
    """
    if source not in SOURCES or test not in ("balanced", "natural"):
        raise ValueError(
            f"ild: source={source!r}, test={test!r} given; a source of "
            f"{', '.join(map(repr, SOURCES))} and a test 'balanced' or 'natural' are needed."
        )
    labels = {"lung_ct_98": lung_ct_98.LABELS, "chest-ct": chest_ct.LABELS}.get(source, LABELS)
    if abnormal is None and source == "chest-ct":
        abnormal = "mass"
    bad = choose_classes(abnormal, [label for label in labels if label != NORMAL], "ild")
    if source == "lung_ct_98" and tuple(window) != LUNG_WINDOW:
        raise ValueError(
            "ild: lung_ct_98 holds 8-bit images without Hounsfield units; it has no window."
        )
    if pilot and source in ("lung_ct_98", "chest-ct"):
        raise ValueError(f"ild: {source} has no pilot; only the Geneva database has one.")
    if source == "lung_ct_98":
        images = lung_ct_98.read(root, size=image_size, share=share)
    elif source == "chest-ct":
        images = chest_ct.read(root, size=image_size, window=window, share=share)
    else:
        images = read(root, source=source, size=image_size, window=window, share=share, pilot=pilot)
    if images.skipped:
        lines = "\n  ".join(images.skipped[:30]) + ("\n  …" if len(images.skipped) > 30 else "")
        warnings.warn(
            f"ild: {len(images.skipped)} things could not be used:\n  {lines}", stacklevel=2
        )

    is_bad, notes = np.isin(images.classes, bad), ()
    shares = {"test_share": test_share, "calibration": calibration, "seed": seed}
    if source == "lung_ct_98":
        parts, tested = lung_ct_98.split_patches(images, **shares)
        is_bad &= tested
    elif source == "chest-ct":
        parts, notes = chest_ct.split_patches(images, **shares)
    else:
        parts, tested, notes = split_patches(images, bad, **shares)
        is_bad &= tested
    normal_rows, bad_rows = parts.pool, rows_of(is_bad, images.ids, seed)
    if test == "balanced":
        each = min(len(normal_rows), len(bad_rows))
        normal_rows, bad_rows = normal_rows[:each], bad_rows[:each]
    return make_split(
        source if source in ("lung_ct_98", "chest-ct") else "ild",
        "+".join(bad),
        images,
        train=parts.train,
        calibration=parts.calibration,
        test_normal=normal_rows,
        test_abnormal=bad_rows,
        notes=notes,
    )


def split_patches(
    images: Images, bad: Sequence[str], *, test_share: float, calibration: float, seed: int
) -> tuple[NormalParts, NDArray[np.bool_], tuple[str, ...]]:
    """Split healthy patches by patient: all patches of a patient are in one part.

    1. Patients with any disease are test patients. Those with healthy tissue only train and
       calibrate. The parts are the same for every abnormal class.
    2. If too few patients have healthy tissue only, any patient with healthy tissue may train or
       calibrate, on the healthy patches. The diseased patches of these patients are left out. The
       parts are still the same for every class.
    3. If rule 2 would leave one of the paper's classes, or a chosen class, without any test patch,
       patients with the chosen class become test patients first. The parts then hold for this class
       only.

    Args:
        images: From `read`.
        bad: The chosen abnormal classes.
        test_share, calibration, seed: See `load`.

    Returns:
        The rows of healthy patches in each part; (N,) bool, False for patches of patients that
        train or calibrate; and lines that describe the split and count what was left out.

    Raises:
        ValueError: Fewer than three patients have healthy tissue.
    """
    healthy = images.classes == NORMAL
    held_out = int(np.ceil(test_share * healthy.sum()))
    columns = (healthy, images.groups, images.ids)
    options = {"pool": held_out, "seed": seed, "calibration": calibration}
    try:
        return normal_parts(*columns, **options), np.ones(len(images), dtype=bool), ()
    except ValueError:  # too few patients without disease; mixed_parts raises if too few in all
        parts = mixed_parts(*columns, **options)
    how = "Too few patients have healthy tissue alone, so patients with disease are trained on too"
    needed = {*PAPER_CLASSES, *bad} & set(images.classes.tolist())
    if not needed <= set(images.classes[_tested(images, parts)].tolist()):
        patients_with_class = set(images.groups[np.isin(images.classes, bad)].tolist())
        parts = mixed_parts(*columns, **options, first=patients_with_class)
        how += f"; the split is for {'+'.join(bad)} only"
    tested = _tested(images, parts)
    left_out = Counter(images.classes[~tested & ~healthy].tolist())
    counts = ", ".join(f"{count} {label}" for label, count in sorted(left_out.items())) or "none"
    return parts, tested, (f"{how}. Diseased patches of those patients, left out: {counts}.",)


def _tested(images: Images, parts: NormalParts) -> NDArray[np.bool_]:
    """Return a mask: True for each patch of a patient outside training and calibration."""
    return ~np.isin(images.groups, images.groups[np.concatenate([parts.train, parts.calibration])])


def read(
    root: str | Path | None = None,
    *,
    source: str = "text",
    size: int = 32,
    window: Window = LUNG_WINDOW,
    share: float = 0.75,
    pilot: bool = False,
) -> Images:
    """Cut all patches of all labels, from the cache if possible.

    Args:
        root: See `load`.
        source: ``"text"`` or ``"masks"``.
        size: Height and width of the patches, in pixels; they overlap by half.
        window: The Hounsfield units that become 0 and 255.
        share: At least this share of a patch is covered by its label.
        pilot: Also read HRCT_pilot.

    Returns:
        (N, 1, size, size) uint8 with ids ``slice:row,column``, labels, and patients as groups; in
        ``skipped`` what could not be used.

    Raises:
        FileNotFoundError: The folder does not exist, or does not hold the database.
        ImportError: pydicom is not installed.
        ValueError: No patch could be cut.
    """
    window = check_window(window)
    folder = set_folder(root, "ild")
    database, lungs = find_folder(folder, source), find_folder(folder, "lungs")
    if database is None:
        raise FileNotFoundError(
            f"No {FOLDERS[source]} in {folder.absolute()} or two folders below. `ccb data fetch "
            "ild` says how to apply for the database."
        )
    everyone = patients(database, pilot)
    files = [file for _, path in everyone for file in files_below(path)]
    files += files_below(lungs) if lungs else []
    settings = {"source": source, "size": size, "window": window, "share": share, "pilot": pilot}

    def cut_all() -> Images:
        report, found = Report(folder), []
        for name, path in tqdm(everyone, "ild", disable=None):
            masks = LungMasks(lungs / name if lungs else path / "none", report)
            for drawn in from_text(path, report) if source == "text" else from_masks(path, report):
                lung = masks.of(drawn.header)
                patches = find_patches(
                    drawn.regions, size=size, stride=size // 2, share=share, lung=lung
                )
                if not patches:
                    continue
                try:
                    grey = to_window(read_hounsfield(drawn.header.path), window)
                except (ValueError, OSError) as error:
                    report.add(drawn.header.path, f"{error}; {len(patches)} patches are left out")
                    continue
                where = drawn.header.path.relative_to(path).as_posix().removesuffix(".dcm")
                found.append((f"{name}/{where}", name, patches, cut(grey, patches, size)))
        if not found:
            problems = "\n  ".join(["", *report.lines[:30]])
            raise ValueError(
                f"No patch could be cut from {database} ({len(everyone)} patients).{problems}"
            )
        return assemble(found, report.lines)

    return cached(folder, "ild", {**settings, "files": fingerprint(files, folder)}, cut_all)
