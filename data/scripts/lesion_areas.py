"""Write the areas of HAM10000's lesions, from the segmentation masks published with the images.

``python data/scripts/lesion_areas.py MASKS data/results/ham10000_lesion_areas.csv`` writes the file
that the chapter on claims reads.
"""

import sys
from pathlib import Path

import numpy as np

from ccb_lib.io.image_files import open_image
from ccb_lib.io.writing import replacing


def lesion_area(mask: Path) -> float:
    """Return the share of an image's centred square that the lesion covers.

    Detectors get that square, so area outside it does not count.

    Args:
        mask: An image whose pixels are above 0 on the lesion.

    Returns:
        0…1.

    Raises:
        ValueError: The file is missing or cannot be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> path = Path(mkdtemp()) / "mask.png"
        >>> half_white = np.repeat([[0, 0, 255, 255]], 4, axis=0).astype("uint8")
        >>> Image.fromarray(half_white).save(path)
        >>> lesion_area(path)
        0.5
    """
    try:
        with open_image(mask) as image:
            covered = np.asarray(image.convert("L")) > 0
    except (OSError, ValueError) as error:
        raise ValueError(f"{mask} cannot be read ({error}). Download it again.") from error
    height, width = covered.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return float(covered[top : top + side, left : left + side].mean())


def write_areas(masks: str | Path, out: str | Path) -> int:
    """Write the area of every mask of a folder as CSV: ``image,area``, sorted by image id.

    Args:
        masks: A folder with ``ISIC_*.png``; a suffix such as ``_segmentation`` is dropped from the
            id.
        out: The file to write.

    Returns:
        The number of masks.

    Raises:
        FileNotFoundError: The folder has no masks.
    """
    paths = sorted(Path(masks).glob("ISIC_*.png"))
    if not paths:
        raise FileNotFoundError(
            f"No ISIC_*.png in {masks}. Give the folder of HAM10000's segmentation masks."
        )
    lines = [f"{path.stem.removesuffix('_segmentation')},{lesion_area(path):.4f}" for path in paths]
    with replacing(out) as part:
        part.write_text("\n".join(["image,area", *lines, ""]), encoding="utf-8")
    return len(paths)


if __name__ == "__main__":
    print(f"{write_areas(*sys.argv[1:3])} areas written to {sys.argv[2]}.")
