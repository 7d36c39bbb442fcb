"""98 lung CT slices of COVID patients with marked lesions (MedSeg): a stand-in for ``ild``.

Results on it are no reproduction of the paper's tables. The disease is another one, the images are
8-bit without Hounsfield units, and each has its own window. Patients are unknown, so two slices of
one patient may be in two parts. Brightness alone says much about the class: report a
mean-intensity baseline beside every result.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ccb_lib.datasets.base import Images
from ccb_lib.datasets.cache import cached, fingerprint
from ccb_lib.datasets.patches import assemble, cut, find_patches
from ccb_lib.datasets.paths import set_folder
from ccb_lib.datasets.splits import NormalParts, by_seed, rows_of
from ccb_lib.io.image_files import listing, open_image

COLOURS = {"ground_glass": (128, 0, 0), "consolidation": (0, 128, 0)}  # of the masks
LABELS = ("healthy", *COLOURS)
SLICES = 98
MARGIN = 16  # pixels between healthy lung and the nearest marked pixel
LEAST_AREA = 0.05  # of the slice: smaller dark parts are airways, arrows or noise


def read(root: str | Path | None = None, *, size: int = 32, share: float = 0.75) -> Images:
    """Cut patches of healthy lung, ground glass and consolidation by the ILD rule (`find_patches`).

    Args:
        root: The folder with ``lung_ct_98`` in it, or that folder itself: ``images/<n>.jpg`` and
            ``masks/<n>.png``.
        size: Height and width of the patches; they overlap by half.
        share: At least this share of a patch is covered by its label.

    Returns:
        (N, 1, size, size) uint8, with slices as groups.

    Raises:
        FileNotFoundError: The folder does not exist, or has no images.
        ValueError: Slices or masks are missing, differ in size or cannot be read (all are listed).
    """
    folder = set_folder(root, "lung_ct_98")
    slices = sorted((folder / "images").glob("*.jpg"), key=lambda path: (len(path.stem), path.stem))
    if not slices:
        raise FileNotFoundError(
            f"No images/*.jpg in {folder.absolute()}. `ccb data fetch lung_ct_98` says more."
        )

    def cut_all() -> Images:
        found = []
        problems: dict[Path, str] = {}
        for path in slices:
            try:
                grey, regions = read_slice(folder, path.stem)
            except (OSError, ValueError) as error:
                problems[path] = str(error)
                continue
            patches = find_patches(regions, size=size, stride=size // 2, share=share)
            found.append((path.stem, path.stem, patches, cut(grey, patches, size)))
        if problems:
            raise ValueError(
                listing(problems, f"{len(problems)} slices cannot be read", "Unpack the set again.")
            )
        return assemble(found)

    files = [*slices, *sorted((folder / "masks").glob("*.png"))]
    return cached(
        folder,
        "lung_ct_98",
        {"size": size, "share": share, "files": fingerprint(files, folder)},
        cut_all,
    )


def read_slice(folder: Path, name: str) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.bool_]]]:
    """Read one slice and its marked regions.

    Args:
        folder: The folder with ``images`` and ``masks`` in it.
        name: The slice's number, such as ``"67"``.

    Returns:
        (H, W) uint8, and for each of `LABELS` (H, W) bool.

    Raises:
        OSError: The slice or its mask is missing or damaged.
        ValueError: The two differ in size.
    """
    with open_image(folder / "images" / f"{name}.jpg") as image:
        grey = np.asarray(image.convert("L"))
    mask_file = folder / "masks" / f"{name}.png"
    if not mask_file.is_file():
        raise FileNotFoundError(f"its mask {mask_file} is missing")
    with open_image(mask_file) as mask:
        colours = np.asarray(mask.convert("RGB"))
    if grey.shape != colours.shape[:2]:
        raise ValueError(f"its size {grey.shape} is not {colours.shape[:2]}, that of its mask")
    regions = {label: (colours == colour).all(axis=-1) for label, colour in COLOURS.items()}
    return grey, {"healthy": healthy_lung(grey, colours.any(axis=-1)), **regions}


def healthy_lung(grey: NDArray[np.uint8], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find healthy lung: lung in which no lesion is marked.

    The masks mark lesions only. Healthy lung is found in five steps: (1) take all pixels that are
    not brighter than Otsu's threshold of the slice; (2) keep connected components of at least 5 %
    of the slice, without most airways, arrows and noise; (3) drop components with a corner of the
    slice, which are the air around the body; (4) close gaps as narrow as small vessels; (5) drop
    pixels within 16 pixels of a marked pixel.

    Args:
        grey: (H, W) uint8.
        marked: (H, W) bool, True where a lesion is marked.

    Returns:
        (H, W) bool.
    """
    # Opening and closing as separate steps with border_value=1: otherwise they would remove lung
    # at the edge of the slice.
    dark = ndimage.binary_dilation(ndimage.binary_erosion(grey <= otsu(grey), border_value=1))
    parts, _ = ndimage.label(dark)
    area = np.bincount(parts.ravel())
    corners = parts[[0, 0, -1, -1], [0, -1, 0, -1]]
    kept = area >= LEAST_AREA * grey.size
    kept[0] = False  # label 0: pixels that are not dark
    kept[corners] = False
    wide = ndimage.binary_dilation(kept[parts], iterations=2)
    lung = ndimage.binary_erosion(wide, iterations=2, border_value=1)
    apart = ndimage.distance_transform_edt(~marked) > MARGIN if marked.any() else np.ones_like(lung)
    return lung & apart


def otsu(grey: NDArray[np.uint8]) -> int:
    """Return Otsu's threshold (1979): the grey value t that maximises the between-class variance.

    The two classes are the pixels ≤ t and > t.

    Returns:
        t, 0 to 254; 0 for a constant image.
    """
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below, sums = counts.cumsum(), (counts * np.arange(256)).cumsum()
    total, whole = below[-1], sums[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (whole * below / total - sums) ** 2 / (below * (total - below))
    return int(np.nan_to_num(between[:-1]).argmax())


def split_patches(
    images: Images, *, test_share: float, calibration: float, seed: int
) -> tuple[NormalParts, NDArray[np.bool_]]:
    """Split by slice.

    Every slice has lesions, so the lesions of slices that train or calibrate are left out.

    Returns:
        The rows of healthy patches in each part; and (N,) bool, True for all patches of test
        slices.

    Raises:
        ValueError: There are fewer than three slices with patches.
    """
    order = by_seed(images.groups.tolist(), seed)
    n_test = max(1, round(test_share * len(order)))
    n_calibration = max(1, round(calibration * (len(order) - n_test)))
    if len(order) < n_test + n_calibration + 1:
        raise ValueError(
            f"lung_ct_98: {len(order)} slices with patches; at least three are needed."
        )
    healthy = images.classes == "healthy"
    tested = np.isin(images.groups, order[:n_test])
    calibrating = np.isin(images.groups, order[n_test : n_test + n_calibration])
    return (
        NormalParts(
            train=rows_of(healthy & ~tested & ~calibrating, images.ids, seed),
            calibration=rows_of(healthy & calibrating, images.ids, seed),
            pool=rows_of(healthy & tested, images.ids, seed),
        ),
        tested,
    )
