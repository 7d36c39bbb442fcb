"""Figures of image sets that may be missing; if they are, a line on how to get the images."""

import numpy as np
from IPython.display import Markdown
from matplotlib.figure import Figure

from ccb_lib.chapters.helpers import dataset_dir_or_none
from ccb_lib.datasets import cifar10, ham10000, lung_ct_98
from ccb_lib.datasets.patches import find_patches
from ccb_lib.io.image_files import read_images
from ccb_lib.plots import image_grid
from ccb_lib.plots.data import sample_sheet, slice_regions

# Images of HAM10000 with a salient object or artefact other than the lesion.
MARKS = {
    "0030522": "hair",
    "0029051": "hair",
    "0030589": "ink",
    "0026789": "ruler",
    "0027648": "ruler",
    "0032689": "rim",
    "0033644": "rim",
    "0027815": "rim, ruler",
}


def skin_by_diagnosis() -> Figure | Markdown:
    """Draw ten images of each diagnosis of HAM10000.

    Returns:
        The figure; a line on how to get the images if they are not on this machine.
    """
    folder = dataset_dir_or_none("ham10000")
    if folder is None:
        return _missing("ham10000", "ten images of each diagnosis")
    images = ham10000.read(folder)
    first = {name: np.flatnonzero(images.classes == name)[:10] for name in ham10000.CLASSES}
    return image_grid({name: images.pixels[rows] for name, rows in first.items()})


def skin_of_one_lesion() -> Figure | Markdown:
    """Draw all photographs of the lesion of HAM10000 with the most photographs.

    Returns:
        The figure; a line on how to get the images if they are not on this machine.
    """
    folder = dataset_dir_or_none("ham10000")
    if folder is None:
        return _missing("ham10000", "all photographs of one lesion")
    images = ham10000.read(folder)
    lesions, counts = np.unique(images.groups, return_counts=True)
    lesion = str(lesions[counts.argmax()])
    paths = ham10000.find(folder)[1]
    chosen = [paths[row] for row in np.flatnonzero(images.groups == lesion)]
    return image_grid({lesion: read_images(chosen, image_size=128, channels=3)})


def skin_marks() -> Figure | Markdown:
    """Draw images of HAM10000 with hair, ink, rulers and dark rims.

    Returns:
        The figure; a line on how to get the images if they are not on this machine.
    """
    folder = dataset_dir_or_none("ham10000")
    if folder is None:
        return _missing("ham10000", "images with hair, ink, rulers and dark rims")
    path_of = {path.stem: path for path in ham10000.find(folder)[1]}
    pictures = read_images(
        [path_of[f"ISIC_{number}"] for number in MARKS], image_size=128, channels=3
    )
    return image_grid({"128 px": pictures}, titles=list(MARKS.values()))


def samples_of_sets() -> Figure | Markdown:
    """Draw one image of each class of the sets that stand for the paper's (its Fig. 4).

    Returns:
        The figure, of the sets that are on this machine; a line on how to get the images if none
        of them is.
    """
    readers = {
        "cifar10": ("CIFAR-10: photographs", lambda folder: cifar10.read(folder)[0]),
        "lung_ct_98": ("98 slices of lung CT, instead of ILD: patches", lung_ct_98.read),
        "ham10000": ("HAM10000: images of the skin", ham10000.read),
    }
    sets = {}
    for name, (title, read) in readers.items():
        if (folder := dataset_dir_or_none(name)) is not None:
            images = read(folder)
            classes, rows = np.unique(images.classes, return_index=True)
            sets[title] = dict(zip(classes, images.pixels[rows], strict=True))
    if not sets:
        return _missing("cifar10", "one image of each class of each set")
    return sample_sheet(sets)


def marked_slice(number: str = "67") -> Figure | Markdown:
    """Draw a slice of lung_ct_98, its annotations, and the patches cut from it.

    Args:
        number: File name of the slice without its extension.

    Returns:
        The figure; a line on how to get the images if they are not on this machine.
    """
    folder = dataset_dir_or_none("lung_ct_98")
    if folder is None:
        return _missing("lung_ct_98", "a slice, its annotations, and the patches cut from it")
    grey, marked = lung_ct_98.read_slice(folder, number)
    marked["unmarked"] = marked.pop("healthy")  # nobody has said that it is healthy
    return slice_regions(grey, regions=marked, patches=find_patches(marked))


def _missing(name: str, content: str) -> Markdown:
    return Markdown(
        f"*With `{name}` on this machine, the page shows {content} here. `ccb data fetch {name}` "
        "says how to get the images.*"
    )
