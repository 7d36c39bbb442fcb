"""Small synthetic databases in the format of the Geneva ILD database, for tests and the book.

Textures are computed by formulas. They show the file format and how patches are cut. They only
resemble tissue, so a score on them has no medical meaning.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ccb_lib.datasets.ild_files import FOLDERS
from ccb_lib.datasets.ild_rois import LABELS, draw
from ccb_lib.io.dicom import PADDING
from ccb_lib.io.dicom_writing import write_image
from ccb_lib.io.writing import replacing

Points = NDArray[np.float64]  # (P, 2): x and y in pixels

_INTERCEPT = -1024
_TISSUE = {  # mean HU, standard deviation of coarse and of fine structures
    "healthy": (-840, 25, 35),
    "ground_glass": (-600, 30, 40),
    "emphysema": (-940, 25, 25),
    "fibrosis": (-620, 120, 160),
    "micronodules": (-780, 25, 60),
}


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the four corners of a rectangle, in pixels."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def ellipse(x: float, y: float, width: float, height: float, points: int = 60) -> Points:
    """Return an ellipse with centre (x, y) as a polygon, in pixels."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([x + width / 2 * np.cos(angle), y + height / 2 * np.sin(angle)])


def write_rois(
    path: Path,
    contours: Sequence[tuple[str, int, Points]],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    series: str = "1.2.3",
) -> None:
    """Write a text ROI file.

    Args:
        path: Such as ``…/CT-INSPIRIUM-8873.txt``.
        contours: Label, slice number from 1, and points in pixels. They are written in this order;
            a repeated label or slice number is written once, as in the database.
        spacing: x and y in mm; the file holds millimetres.
        series: SeriesInstanceUID of the slices.

    Raises:
        OSError: The folder cannot be written to.
    """
    lines = [
        "Study: 1.2.840.1",
        f"Series: {series}",
        f"SpacingX: {spacing[0]!r}",
        f"SpacingY: {spacing[1]!r}",
    ]
    lines += ["SpacingZ: 10.0", "-" * 40]
    before: tuple[str, int] | None = None
    for label, number, points in contours:
        if before is None or before[0] != label:
            lines += ["", f"label: {label}", "localisation: diffuse"]
        if before != (label, number):
            lines.append(f"slice_number: {number}")
        lines.append(f"nb_points_on_contour: {len(points)}")
        lines += [f"{x * spacing[0]!r} {y * spacing[1]!r}" for x, y in points.tolist()]
        before = (label, number)
    with replacing(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_patient(
    root: Path,
    patient: str,
    slices: Sequence[tuple[NDArray[np.floating], Mapping[str, Sequence[Points]]]],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    lung: Sequence[Points] = (),
) -> None:
    """Write one patient in three forms, as the database does: text ROIs, masks and lung masks.

    Args:
        root: The database; ``ILD_DB_txtROIs`` and the two other folders are created in it.
        patient: The patient's folder; ``"7/series_2"`` writes a sub-folder for one series.
        slices: For each slice (H, W) Hounsfield units, NaN for padding, and the contours of each
            label. Slices are numbered from 1 and are 10 mm apart.
        spacing: Size of a pixel in mm, x and y.
        lung: Contours of the lung on all slices; without any, no lung masks are written.

    Raises:
        ImportError: pydicom is not installed.
        OSError: The folder cannot be written to.
    """
    name = patient.replace("/", "_")
    series = f"1.2.826.0.1.{int.from_bytes(patient.encode(), 'big') % 10**12}"
    contours = []
    for number, (hounsfield, regions) in enumerate(slices, start=1):
        raw = np.nan_to_num(hounsfield - _INTERCEPT, nan=PADDING).round().astype(np.int16)
        facts = {"number": number, "location": -10.0 * number, "series": series}
        common = {**facts, "spacing": spacing[::-1]}
        for kind in ("text", "masks"):
            write_image(root / FOLDERS[kind] / patient / f"CT-0001-{number:04d}.dcm", raw, **common)
        mask = np.zeros(raw.shape, dtype=np.int16)
        for label, polygons in regions.items():
            for points in polygons:
                contours.append((label, number, points))
                mask[draw(points, raw.shape)] = LABELS.index(label) + 1
        folder = root / FOLDERS["masks"] / patient / "roi_mask"
        write_image(
            folder / f"roi_mask_{name[:4]}_{number:02d}.dcm",
            mask,
            **facts,
            slope=None,
            intercept=None,
        )
        if len(lung):
            inside = np.logical_or.reduce([draw(points, raw.shape) for points in lung]).astype(
                np.int16
            )
            folder = root / FOLDERS["lungs"] / patient / "lung_mask"
            write_image(
                folder / f"lung_mask_{name[:4]}_{number:02d}.dcm",
                inside,
                **facts,
                slope=None,
                intercept=None,
            )
    contours.sort(key=lambda contour: (LABELS.index(contour[0]), contour[1]))
    write_rois(
        root / FOLDERS["text"] / patient / f"CT-INSPIRIUM-{name}.txt",
        contours,
        spacing=spacing,
        series=series,
    )


def write_database(
    root: str | Path, *, seed: int = 0, size: int = 256, patients: int = 8, slices: int = 3
) -> Path:
    """Write a database of synthetic patients.

    The first half is healthy. The others have one disease each, in turn.

    Args:
        root: The folder; created if missing.
        seed: Seeds the textures.
        size: Height and width of the slices, in pixels.
        patients: The number of patients, at least two.
        slices: The number of slices of each patient.

    Returns:
        The folder, ready for ``load_dataset("ild", root=…)``.

    Raises:
        ImportError: pydicom is not installed.
        OSError: The folder cannot be written to.
    """
    rng = np.random.default_rng(seed)
    root = Path(root)
    diseases = [label for label in _TISSUE if label != "healthy"]
    left = ellipse(0.29 * size, 0.5 * size, 0.32 * size, 0.62 * size)
    right = ellipse(0.71 * size, 0.5 * size, 0.32 * size, 0.62 * size)
    for patient in range(1, patients + 1):
        sick = patient - patients // 2 - 1
        stack = []
        for _ in range(slices):
            regions = {"healthy": [_shrunk(left), _shrunk(right)]}
            if sick >= 0:
                regions = {
                    "healthy": [_shrunk(left)],
                    diseases[sick % len(diseases)]: [_shrunk(right)],
                }
            stack.append((chest(size, [left, right], regions, rng), regions))
        write_patient(root, str(patient), stack, spacing=(0.7, 0.7), lung=[left, right])
    return root


def chest(
    size: int,
    lung: Sequence[Points],
    regions: Mapping[str, Sequence[Points]],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw one synthetic slice in Hounsfield units: (size, size) float64, NaN outside a circle."""
    shape = (size, size)
    image = np.full(shape, -1000.0)
    image[draw(ellipse(size / 2, size / 2, 0.96 * size, 0.8 * size), shape)] = 40.0  # the body
    image += rng.normal(0, 15, shape)
    for label, polygons in {
        "healthy": lung,
        **{k: v for k, v in regions.items() if k != "healthy"},
    }.items():
        inside = np.logical_or.reduce([draw(points, shape) for points in polygons])
        image[inside] = texture(label, shape, rng)[inside]
    image[~draw(ellipse(size / 2, size / 2, size, size, 200), shape)] = np.nan
    return image


def texture(label: str, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the texture of one label, with vessels, in Hounsfield units: (H, W) float64."""
    mean, coarse, fine = _TISSUE[label]
    image = mean + coarse * _noise(shape, 6, rng) + fine * _noise(shape, 1, rng)
    if label == "fibrosis":  # a network of walls
        image += 350 * (np.abs(_noise(shape, 3, rng)) < 0.25)
    if label == "micronodules":  # scattered dots of about 3 pixels
        dots = gaussian_filter((rng.random(shape) < 0.006).astype(float), 1.2)
        image += 600 * dots / dots.max()
    if label == "emphysema":  # holes
        image -= 60 * (_noise(shape, 4, rng) > 0.8)
    image += 500 * (np.abs(_noise(shape, 9, rng)) < 0.05) * (_noise(shape, 12, rng) > 0.6)
    return image


def _noise(shape: tuple[int, int], width: float, rng: np.random.Generator) -> NDArray[np.float64]:
    smooth = gaussian_filter(rng.normal(size=shape), width)
    return smooth / smooth.std()


def _shrunk(points: Points) -> Points:
    centre = points.mean(axis=0)
    return centre + 0.92 * (points - centre)
