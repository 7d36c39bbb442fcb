"""Text ROI files of the Geneva database: strict parsing, and conversion of contours to masks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = (
    "healthy",
    "emphysema",
    "ground_glass",
    "fibrosis",
    "micronodules",
    "consolidation",
    "bronchial_wall_thickening",
    "reticulation",
    "macronodules",
    "cysts",
    "peripheral_micronodules",
    "bronchiectasis",
    "air_trapping",
    "early_fibrosis",
    "increased_attenuation",
    "tuberculosis",
    "pcp",
)  # in the masks, label k is pixel value k + 1

# After the first label only these keys are accepted: with a misspelt key ``label``, the contours
# would get the label before it.
_KEYS = frozenset({"label", "localisation", "slice_number", "nb_points_on_contour"})

# Drawing takes a time proportional to points × pixels; contours of the database have some hundreds.
_MOST_POINTS = 10_000
_MOST_DIGITS = 18


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed contour.

    Attributes:
        label: The radiologist's label, in lower case, with ``_`` for spaces.
        slice_number: From 1.
        points: (P, 2) float64, x and y in pixels; 0 is the outer edge of the first pixel.
        line: The line of the file at which the contour begins.
    """

    label: str
    slice_number: int
    points: NDArray[np.float64]
    line: int


@dataclass(frozen=True)
class Rois:
    """A text ROI file: SeriesInstanceUID of its slices (empty if it has none) and contours."""

    series: str
    contours: list[Contour]


def read_rois(file: Path) -> Rois:
    """Parse a text ROI file, such as ``CT-INSPIRIUM-8873.txt``.

    ``label`` and ``slice_number`` apply until the next such line. Points are in millimetres in the
    file and are divided by its pixel spacing here. Blank lines and separator lines are skipped.

    Raises:
        ValueError: The file is malformed: an invalid number, more or fewer points than announced, a
            contour before its label, slice or spacing. The message names the line.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    facts: dict[str, str] = {}
    contours: list[Contour] = []
    points: list[tuple[float, float]] = []
    wanted, start = 0, 0

    def close(line: int) -> None:
        if len(points) != wanted:
            raise ValueError(
                f"line {line}: {len(points)} points where line {start} announces {wanted}"
            )

    for number, line in enumerate(lines, start=1):
        if not line.strip(" \t-_=*#"):
            continue
        key, colon, value = (part.strip() for part in line.partition(":"))
        key = key.lower()
        if not colon:
            if len(points) >= wanted:
                raise ValueError(f"line {number}: {line.strip()[:40]!r} where no point is expected")
            points.append(_point(line, number, facts))
        else:
            close(number)
            if "label" in facts and key not in _KEYS:
                raise ValueError(
                    f"line {number}: {key[:40]!r} is none of {', '.join(sorted(_KEYS))}"
                )
            if key == "nb_points_on_contour":
                for needed in ("label", "slice_number", "spacingx", "spacingy"):
                    if needed not in facts:
                        raise ValueError(f"line {number}: a contour before any {needed}")
                wanted, start, points = _integer(value, number), number, []
                if wanted > _MOST_POINTS:
                    raise ValueError(
                        f"line {number}: {wanted:,} points; at most {_MOST_POINTS:,} are read"
                    )
                label = facts["label"].lower().replace(" ", "_")
                contour = (label, _integer(facts["slice_number"], number))
                if contour[1] == 0:
                    raise ValueError(
                        f"line {number}: slice_number 0, but slices are counted from 1"
                    )
            facts[key] = value
        if wanted and len(points) == wanted:
            contours.append(Contour(*contour, points=np.array(points), line=start))
            wanted, points = 0, []
    close(len(lines))
    return Rois(series=facts.get("series", ""), contours=contours)


def draw(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Convert a contour to a mask: True for each pixel whose **centre** is inside.

    The pixel in row r and column c covers r…r+1 downwards and c…c+1 to the right, so its centre is
    at (c + ½, r + ½). A square from x = 32 to x = 64 therefore covers exactly the 32 columns 32…63.
    Where a contour crosses itself, a point is inside if a ray from it meets the contour an odd
    number of times.

    Args:
        points: (P, 2) x and y in pixels.
        shape: (H, W) of the slice.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: The contour exceeds the slice by more than a pixel, so the spacing or the slice
            is not the one it was drawn on.
    """
    from matplotlib.path import Path as Polygon

    mask = np.zeros(shape, dtype=bool)
    if len(points) < 3:
        return mask  # fewer than three points enclose no area
    low, high = points.min(axis=0), points.max(axis=0)
    if (low < -1).any() or high[0] > shape[1] + 1 or high[1] > shape[0] + 1:
        raise ValueError(
            f"the contour spans x {low[0]:.1f}…{high[0]:.1f} and y {low[1]:.1f}…{high[1]:.1f} px, "
            f"beyond the slice of {shape[1]}×{shape[0]} px"
        )
    left, top = np.floor(np.maximum(low, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(high, shape[::-1])).astype(int)
    y, x = np.mgrid[top:bottom, left:right]
    inside = Polygon(points).contains_points(np.column_stack([x.ravel(), y.ravel()]) + 0.5)
    mask[top:bottom, left:right] = inside.reshape(x.shape)
    return mask


def _point(line: str, number: int, facts: dict[str, str]) -> tuple[float, float]:
    parts = line.split()
    if len(parts) != 2:
        raise ValueError(
            f"line {number}: {line.strip()[:40]!r} is no point; x and y in millimetres are needed"
        )
    x, y = (_number(part, number) for part in parts)
    return x / _spacing(facts, "spacingx", number), y / _spacing(facts, "spacingy", number)


def _spacing(facts: dict[str, str], key: str, number: int) -> float:
    value = _number(facts[key], number)
    if value <= 0:
        raise ValueError(f"line {number}: {key} is {value:g} mm; it must be above 0")
    return value


def _number(text: str, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"line {number}: {text[:40]!r} is no number")
    return value


def _integer(text: str, number: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise ValueError(f"line {number}: {text[:40]!r} is no whole number from 0")
    return int(text)
