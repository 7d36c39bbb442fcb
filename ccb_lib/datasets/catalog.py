"""What each data set is, its terms, how to cite it, how to get it, and whether all of it is there."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ccb_lib.io.archives import ENDINGS, unpack


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: As `load_dataset` and ``ccb data`` know it.
        what: One line.
        terms: Under which it may be used.
        cite: How to cite it.
        steps: How to get it, one line a step; ``{root}`` stands for the folder of all data sets.
        known: The number of images of each class, where it is known.
    """

    name: str
    what: str
    terms: str
    cite: str
    steps: tuple[str, ...]
    known: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What is on this machine.

    Attributes:
        folder: Where.
        counts: The number of images (patches, for CT) of each class.
        missing: What should be there and is not, one line each.
        notes: What else to know, one line each.
    """

    folder: Path
    counts: dict[str, int]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(
            "digits",
            "1,797 handwritten digits, 8×8 grey; ships with scikit-learn",
            "CC BY 4.0",
            "Alpaydin and Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.",
            ("Nothing to do: it comes with scikit-learn.",),
            dict(zip("0123456789", (178, 182, 177, 183, 181, 182, 181, 179, 174, 180), strict=True)),
        ),
        Entry(
            "cifar10",
            "60,000 photographs of ten classes, 32×32 RGB",
            "research use",
            "Krizhevsky: Learning Multiple Layers of Features from Tiny Images. University of Toronto, 2009.",
            ("`ccb data fetch cifar10` downloads 170 MB from the author's page, through torchvision.",),
            dict.fromkeys(_CIFAR, 6000),
        ),
        Entry(
            "ham10000",
            "10,015 dermatoscopic images of 7,470 lesions, seven diagnoses, 600×450 RGB",
            "CC BY-NC 4.0; credit the ViDIR Group, Medical University of Vienna",
            "Tschandl, Rosendahl and Kittler: The HAM10000 dataset. Scientific Data 5, 180161, 2018.",
            (
                "Open https://doi.org/10.7910/DVN/DBW86T (Harvard Dataverse) and agree to its terms.",
                "Download HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and HAM10000_metadata into "
                "{root}/ham10000.",
                "Run `ccb data fetch ham10000` again: it unpacks the archives it finds there.",
            ),
            {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142},
        ),
        Entry(
            "ild",
            "Lung CT of patients with interstitial lung diseases, with drawn regions of 17 patterns (Geneva)",
            "research, after an application; it may not be passed on",
            "Depeursinge et al.: Building a reference multimedia database for interstitial lung diseases. "
            "Computerized Medical Imaging and Graphics 36, 227–238, 2012.",
            (
                "Apply for the ILD database to the MedGIFT group, HES-SO Valais.",
                "Put the archive, or the folders ILD_DB_txtROIs, ILD_DB_volumeROIs and ILD_DB_lungMasks, into "
                "{root}/ild.",
                "Run `ccb data fetch ild` again: it unpacks the archives it finds there.",
                'Reading it needs pydicom: pip install "ccb-lib[dicom]".',
            ),
        ),
        Entry(
            "lung_ct_98",
            "98 lung CT slices of COVID patients with ground glass and consolidation marked; a stand-in for ild, "
            'loaded as ild with source="lung_ct_98"',
            "non-commercial",
            "MedSeg: COVID-19 CT segmentation dataset, 2020; slices from the Italian Society of Medical and "
            "Interventional Radiology.",
            (
                "Get the slices as 8-bit JPEG, their masks as PNG (ground glass 128,0,0; consolidation 0,128,0).",
                "Put them into {root}/lung_ct_98 as images/<n>.jpg and masks/<n>.png.",
                "Load them with load_dataset('ild', source='lung_ct_98', …).",
            ),
        ),
        Entry(
            "folder",
            "your own images: train/normal, test/normal and test/abnormal, or a CSV of path, label and group",
            "yours",
            "-",
            ("Nothing to fetch. Give the folder or the CSV file as --root.",),
        ),
    )
}


def entry(name: str) -> Entry:
    """Return one data set's entry.

    Raises:
        ValueError: There is no such data set; the message lists them.
    """
    if name not in ENTRIES:
        raise ValueError(f"Unknown data set {name!r}. There are: {', '.join(ENTRIES)}.")
    return ENTRIES[name]


def look(name: str, root: str | Path | None = None) -> Found:
    """Count what is there of a data set.

    Args:
        name: The data set.
        root: As `load_dataset` takes it.

    Raises:
        ValueError: Unknown data set, or files that are broken.
        FileNotFoundError: Nothing of it is there.
    """
    entry(name)
    return _LOOKS[name](root)


def missing(name: str, found: Found) -> list[str]:
    """List all that is missing: named files, and classes with other counts than the known ones."""
    lines = list(found.missing)
    for label, count in ENTRIES[name].known.items():
        if found.counts.get(label, 0) != count:
            lines.append(f"{label}: {found.counts.get(label, 0)} images instead of {count}")
    return lines


def unpack_archives(folder: Path) -> list[Path]:
    """Unpack each archive that lies in a folder to a folder of its own name; those unpacked before are passed over.

    Returns:
        The new folders.

    Raises:
        ValueError: An archive is damaged or unsafe; see `ccb_lib.io.archives.unpack`.
    """
    made = []
    for archive in sorted(folder.iterdir()) if folder.is_dir() else []:
        ending = next((ending for ending in ENDINGS if archive.name.lower().endswith(ending)), None)
        if ending is None or not archive.is_file():
            continue
        target = archive.with_name(archive.name[: -len(ending)])
        if not target.exists():
            unpack(archive, target)
            made.append(target)
    return made


def _look_digits(root: str | Path | None) -> Found:
    import sklearn.datasets

    labels = sklearn.datasets.load_digits().target
    return Found(Path(sklearn.datasets.__file__).parent, dict(Counter(map(str, labels))))


def _look_cifar10(root: str | Path | None) -> Found:
    from ccb_lib.datasets.base import data_root
    from ccb_lib.datasets.cifar10 import read

    images, _ = read(root)  # decodes all, so broken files are errors
    return Found(data_root(root), dict(Counter(images.classes.tolist())))


def _look_ham10000(root: str | Path | None) -> Found:
    from ccb_lib.datasets import ham10000
    from ccb_lib.datasets.paths import set_folder

    folder = set_folder(root, "ham10000")
    table, paths, absent = ham10000.find(folder)
    there = {path.stem for path in paths}
    counts = Counter(dx for name, dx in zip(table["image_id"], table["dx"], strict=True) if name in there)
    shown = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
    return Found(
        folder,
        {label: counts.get(label, 0) for label in ham10000.CLASSES},
        (f"{len(absent)} images of the metadata: {shown}",) if absent else (),
        (f"{len(set(table['lesion_id']))} lesions.", "Files were counted, not decoded; loading names broken ones."),
    )


def _look_ild(root: str | Path | None) -> Found:
    from ccb_lib.datasets import ild
    from ccb_lib.datasets.ild_files import FOLDERS, find_folder, patients
    from ccb_lib.datasets.paths import set_folder

    folder = set_folder(root, "ild")
    absent = [f"the folder {name}" for kind, name in FOLDERS.items() if find_folder(folder, kind) is None]
    source = next((kind for kind in ("text", "masks") if find_folder(folder, kind)), "text")
    images = ild.read(root, source=source)
    database = find_folder(folder, source)
    notes = [f"{len(patients(database)) if database else 0} patients; patches of 32×32 from {FOLDERS[source]}."]
    return Found(folder, dict(Counter(images.classes.tolist()).most_common()), (*absent, *images.skipped), tuple(notes))


def _look_lung_ct_98(root: str | Path | None) -> Found:
    from ccb_lib.datasets import lung_ct_98
    from ccb_lib.datasets.paths import set_folder

    folder = set_folder(root, "lung_ct_98")
    images = lung_ct_98.read(root)
    slices = len(list((folder / "images").glob("*.jpg")))
    absent = (f"{lung_ct_98.SLICES - slices} of {lung_ct_98.SLICES} slices",) if slices < lung_ct_98.SLICES else ()
    return Found(folder, dict(Counter(images.classes.tolist())), absent, (f"{slices} slices; patches of 32×32.",))


def _look_folder(root: str | Path | None) -> Found:
    from ccb_lib.datasets.csv_table import TABLE_ENDINGS, read_table
    from ccb_lib.datasets.paths import images_below

    if root is None:
        raise ValueError("folder: give --root, the folder or the CSV file.")
    place = Path(root).expanduser()
    if place.is_file() and place.suffix.lower() in TABLE_ENDINGS:
        _, _, labels, groups = read_table(place)
        return Found(place, dict(Counter(labels.tolist())), notes=(f"{len(set(groups))} groups.",))
    counts, absent = {}, []
    for part in ("train/normal", "test/normal", "test/abnormal"):
        counts[part] = len(images_below(place / part)) if (place / part).is_dir() else 0
        if not counts[part]:
            absent.append(f"images in {place / part}")
    return Found(place, counts, tuple(absent), ("Files were counted, not decoded; loading names broken ones.",))


_LOOKS: dict[str, Callable[[str | Path | None], Found]] = {
    "digits": _look_digits,
    "cifar10": _look_cifar10,
    "ham10000": _look_ham10000,
    "ild": _look_ild,
    "lung_ct_98": _look_lung_ct_98,
    "folder": _look_folder,
}
