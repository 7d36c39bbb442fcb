"""A folder of images to try things on, cut from a photograph that ships with scikit-learn: petals, spots and leaves."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ccb_lib.io.writing import replacing

_CENTRE, _RADII = (308, 222), (35, 105)  # of the flower in the photograph: its middle, and where petals lie
_SIDE = 48  # pixels of a patch
_SECTORS = 12  # pieces of the flower, like the pieces of a pie


def write_petals(root: str | Path, *, seed: int = 0, train: int = 600, test: int = 60) -> Path:
    """Write small images of petals as ``train/normal`` and ``test/normal``, and two kinds that are not.

    ``test/abnormal`` holds leaves, which look like nothing in the training set; ``test/spotted`` holds petals with a
    small brown spot. Patches overlap, so the flower is cut like a pie: test images come from other pieces than
    training images. Files come in mixed forms, as users have them: PNG, JPEG, PNG with transparency, JPEG turned by
    EXIF. Beside the folders lies ``labels.csv`` with path, label and group, the piece of the flower.

    Args:
        root: The folder, made if missing.
        seed: Of places, turns and spots.
        train: The number of training images.
        test: The number of test images of each kind.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be written to.
    """
    from sklearn.datasets import load_sample_image

    root = Path(root)
    rng = np.random.default_rng(seed)
    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    test_pieces = rng.choice(_SECTORS, 3, replace=False).tolist()
    train_pieces = [piece for piece in range(_SECTORS) if piece not in test_pieces]
    rows = []
    for folder, label, count, pieces in (
        ("train/normal", "normal", train, train_pieces),
        ("test/normal", "normal", test, test_pieces),
        ("test/abnormal", "abnormal", test, []),
        ("test/spotted", "spotted", test, test_pieces),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            piece = int(rng.choice(pieces)) if pieces else None
            patch = _leaves(photograph, rng) if piece is None else _petals(photograph, piece, rng)
            if label == "spotted":
                patch = _with_spot(patch, rng)
            path = _save(patch, root / folder, number).relative_to(root).as_posix()
            rows.append((path, label, "leaves" if piece is None else f"piece {piece}"))
    with replacing(root / "labels.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return root


def _petals(photograph: Image.Image, piece: int, rng: np.random.Generator) -> Image.Image:
    """Cut a patch whose centre lies in one piece of the flower, turned by a multiple of 90°."""
    angle = 2 * np.pi * (piece + rng.random()) / _SECTORS
    radius = rng.uniform(*_RADII)
    left = round(_CENTRE[0] + radius * np.cos(angle) - _SIDE / 2)
    top = round(_CENTRE[1] + radius * np.sin(angle) - _SIDE / 2)
    patch = photograph.crop((left, top, left + _SIDE, top + _SIDE))
    return patch.rotate(90 * int(rng.integers(4)))


def _leaves(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a patch to the left of the flower, or to its right and above the other one."""
    left = int(rng.choice([rng.integers(0, 110), rng.integers(470, photograph.width - _SIDE)]))
    top = int(rng.integers(0, 320))
    return photograph.crop((left, top, left + _SIDE, top + _SIDE))


def _with_spot(patch: Image.Image, rng: np.random.Generator) -> Image.Image:
    x, y = rng.uniform(12, _SIDE - 12, 2)
    width, height = rng.uniform(4, 7, 2)
    mask = Image.new("L", patch.size)
    ImageDraw.Draw(mask).ellipse((x - width, y - height, x + width, y + height), fill=220)
    return Image.composite(Image.new("RGB", patch.size, (95, 60, 40)), patch, mask.filter(ImageFilter.GaussianBlur(1)))


def _save(patch: Image.Image, folder: Path, number: int) -> Path:
    """Save in one of four forms, in turn; all show the same picture upright."""
    form = number % 4
    path = folder / f"{number:03d}.{'jpg' if form in (1, 3) else 'png'}"
    if form == 0:
        patch.save(path)
    elif form == 1:
        patch.save(path, quality=95)
    elif form == 2:
        patch.convert("RGBA").save(path)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown after a quarter turn clockwise
        patch.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    return path
