"""scikit-learn's 1,797 handwritten digits: real images that need no download."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from ccb_lib.datasets.base import AnomalySplit, Images, choose_class, make_split
from ccb_lib.io.images import SIZES

CLASSES = tuple("0123456789")


def load(
    *, abnormal: Any, root: str | Path | None = None, seed: int = 0, image_size: int = 32
) -> AnomalySplit:
    """Load the digits with one of them abnormal.

    The 1,797 images are split 70 % / 10 % / 20 % by ``seed`` into training, calibration and test.
    The abnormal digit is never trained on, so **all** its images are tested: about 320 normals and
    180 abnormal.

    Args:
        abnormal: A digit, 0 to 9.
        root: Ignored; the images come with scikit-learn.
        seed: Seeds the split.
        image_size: 32, 64 or 128; the 8×8 originals are resized bilinearly.

    Returns:
        Images (N, 1, image_size, image_size) uint8. Ids are rows of scikit-learn's table; each is
        its own group.

    Raises:
        ValueError: An unknown digit or size.
    """
    from sklearn.datasets import load_digits

    abnormal = choose_class(abnormal, CLASSES, "digits")
    if image_size not in SIZES:
        raise ValueError(f"image_size={image_size} given; one of {SIZES} is needed.")
    raw = load_digits()
    small = torch.from_numpy(raw.images).float()[:, None]  # (1797, 1, 8, 8) in 0…16
    small = small * (255 / 16)
    pixels = interpolate(small, size=(image_size, image_size), mode="bilinear", align_corners=False)
    ids = np.array([f"digits/{row:04d}" for row in range(len(pixels))])
    images = Images(
        pixels.round().to(torch.uint8), ids=ids, classes=raw.target.astype(np.str_), groups=ids
    )

    order = np.random.default_rng(seed).permutation(len(images))
    train, calibration, test = np.split(order, [round(0.7 * len(order)), round(0.8 * len(order))])
    is_abnormal = images.classes == abnormal
    return make_split(
        "digits",
        abnormal,
        images,
        train=train[~is_abnormal[train]],
        calibration=calibration[~is_abnormal[calibration]],
        test_normal=test[~is_abnormal[test]],
        test_abnormal=order[is_abnormal[order]],
    )
