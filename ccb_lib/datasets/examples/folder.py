"""An example folder of image files: normal, abnormal, and normal with a drawn dot."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ccb_lib.datasets.base import AnomalySplit
from ccb_lib.io.writing import replacing

DOT_RADIUS = 2.5  # pixels
DOT_GREY = 190  # of 255; soft tissue in the lung window


def write_folder(
    root: str | Path, split: AnomalySplit, *, seed: int = 0, train: int = 600, test: int = 60
) -> Path:
    """Write images of a split as files, in four folders.

    The folders are ``train/normal``, ``test/normal``, ``test/abnormal`` and ``test/dotted``.

    ``test/dotted`` holds the normal test images with a small bright dot at a random position:
    synthetic abnormal images that are hard to find. ``labels.csv`` in the folder has path, label
    and group.

    Args:
        root: The folder; created if missing.
        split: Grey or RGB images. ``train/normal`` gets evenly spaced training images.
        seed: Seeds the positions of the dots.
        train: The maximum number of training images.
        test: The maximum number of test images of each kind.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be written to.

    Example:
        >>> import tempfile
        >>> from ccb_lib import load_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_folder(folder, load_dataset("digits", abnormal=8), train=4, test=2)
        ...     sorted(path.name for path in (root / "test").iterdir())
        ['abnormal', 'dotted', 'normal']
    """
    root, rng = Path(root), np.random.default_rng(seed)
    normal, abnormal = np.flatnonzero(~split.test_labels), np.flatnonzero(split.test_labels)
    parts = {
        "train/normal": (
            split.train,
            split.train_groups,
            _evenly(np.arange(len(split.train)), train),
        ),
        "test/normal": (split.test, split.test_groups, _evenly(normal, test)),
        "test/abnormal": (split.test, split.test_groups, _evenly(abnormal, test)),
        "test/dotted": (split.test, split.test_groups, _evenly(normal, test)),
    }
    rows = []
    for folder, (images, groups, chosen) in parts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(chosen):
            pixels = images[row].permute(1, 2, 0).numpy().copy()
            if folder == "test/dotted":
                _draw_dot(pixels, rng)
            path = f"{folder}/{number:03d}.png"
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
                root / path
            )
            rows.append((path, folder.split("/")[1], f"group {groups[row]}"))
    with (
        replacing(root / "labels.csv") as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return root


def _evenly(rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return at most ``count`` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _draw_dot(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw a dot in an (H, W, C) image at the darkest of ten random positions."""
    height, width = pixels.shape[:2]
    margin = 6
    places = np.column_stack([rng.integers(margin, side - margin, 10) for side in (height, width)])
    darkness = [pixels[r - 3 : r + 4, c - 3 : c + 4].mean() for r, c in places]
    row, column = places[int(np.argmin(darkness))]
    rows, columns = np.ogrid[:height, :width]
    pixels[(rows - row) ** 2 + (columns - column) ** 2 <= DOT_RADIUS**2] = DOT_GREY
