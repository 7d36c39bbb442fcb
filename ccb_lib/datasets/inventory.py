"""Counts of the images of each data set on this machine, compared with the known numbers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ccb_lib.datasets import brain_mri, chest_ct, cifar10, ham10000, ild, lung_ct_98
from ccb_lib.datasets.base import data_root, named_root
from ccb_lib.datasets.catalog import ENTRIES, entry
from ccb_lib.datasets.csv_table import TABLE_ENDINGS, read_table
from ccb_lib.datasets.ild_files import FOLDERS, find_folder, patients
from ccb_lib.datasets.paths import images_below, set_folder
from ccb_lib.datasets.wheels import WHEELS, find, find_or_none
from ccb_lib.io.archives import ENDINGS, unpack


@dataclass(frozen=True)
class Found:
    """The images of one data set on this machine.

    Attributes:
        folder: The folder of the images.
        counts: The number of images (patches, for CT) of each class.
        missing: What is missing, one line each.
        notes: Further information, one line each.
    """

    folder: Path
    counts: dict[str, int]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def look(name: str, root: str | Path | None = None) -> Found:
    """Count the images of a data set on this machine.

    Args:
        name: The data set.
        root: As for `load_dataset`.

    Raises:
        ValueError: An unknown data set, or damaged files.
        FileNotFoundError: There are no files of it on this machine.
    """
    entry(name)
    return _COUNTERS[name](root)


def present(root: str | Path | None = None) -> list[str]:
    """List the data sets whose folder is on this machine, without reading an image.

    Args:
        root: As for `load_dataset`.

    Raises:
        FileNotFoundError: ``root`` or ``$CCB_DATA`` names no folder.

    Example:
        >>> "digits" in present()
        True
    """
    try:
        base = data_root(root)
    except FileNotFoundError:
        if named_root(root) is not None:
            raise
        base = None
    folders = {name: (name,) for name in ENTRIES} | {"cifar10": ("cifar10", "cifar-10-batches-py")}

    def is_there(name: str) -> bool:
        if name in WHEELS:
            return find_or_none(name, root) is not None
        return name == "digits" or (
            base is not None and any((base / folder).is_dir() for folder in folders[name])
        )

    return [name for name in ENTRIES if name != "folder" and is_there(name)]


def missing(name: str, found: Found) -> list[str]:
    """List everything that is missing: files, and classes with another number of images."""
    lines = list(found.missing)
    for label, count in ENTRIES[name].known.items():
        if found.counts.get(label, 0) != count:
            lines.append(f"{label}: {found.counts.get(label, 0)} images instead of {count}")
    return lines


def unpack_archives(folder: Path) -> list[Path]:
    """Unpack each archive in a folder to a folder named after it; unpacked ones are skipped.

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


def _count_digits(root: str | Path | None) -> Found:
    import sklearn.datasets  # slow to load, and no other set needs it

    labels = sklearn.datasets.load_digits().target
    return Found(Path(sklearn.datasets.__file__).parent, dict(Counter(map(str, labels))))


def _count_cifar10(root: str | Path | None) -> Found:
    images, _ = cifar10.read(root)  # decodes all images, so damaged files raise
    return Found(data_root(root), dict(Counter(images.classes.tolist())))


def _count_ham10000(root: str | Path | None) -> Found:
    folder = set_folder(root, "ham10000")
    table, paths, missing_parts = ham10000.find(folder)
    found = {path.stem for path in paths}
    counts = Counter(
        dx for name, dx in zip(table["image_id"], table["dx"], strict=True) if name in found
    )
    shown = ", ".join(missing_parts[:10]) + (", …" if len(missing_parts) > 10 else "")
    return Found(
        folder,
        {label: counts.get(label, 0) for label in ham10000.CLASSES},
        (f"{len(missing_parts)} images of the metadata: {shown}",) if missing_parts else (),
        (
            f"{len(set(table['lesion_id']))} lesions.",
            "Files were counted, not decoded; loading lists damaged files.",
        ),
    )


def _count_ild(root: str | Path | None) -> Found:
    folder = set_folder(root, "ild")
    missing_parts = [
        f"the folder {name}" for kind, name in FOLDERS.items() if find_folder(folder, kind) is None
    ]
    source = next((kind for kind in ("text", "masks") if find_folder(folder, kind)), "text")
    images = ild.read(root, source=source)
    database = find_folder(folder, source)
    notes = [
        f"{len(patients(database)) if database else 0} patients; patches of 32×32 from "
        f"{FOLDERS[source]}."
    ]
    return Found(
        folder,
        dict(Counter(images.classes.tolist()).most_common()),
        (*missing_parts, *images.skipped),
        tuple(notes),
    )


def _count_lung_ct_98(root: str | Path | None) -> Found:
    folder = set_folder(root, "lung_ct_98")
    images = lung_ct_98.read(root)
    slices = len(list((folder / "images").glob("*.jpg")))
    missing_parts = (
        (f"{lung_ct_98.SLICES - slices} of {lung_ct_98.SLICES} slices",)
        if slices < lung_ct_98.SLICES
        else ()
    )
    return Found(
        folder,
        dict(Counter(images.classes.tolist())),
        missing_parts,
        (f"{slices} slices; patches of 32×32.",),
    )


def _count_folder(root: str | Path | None) -> Found:
    if root is None:
        raise ValueError("folder: give --root, the folder or the CSV file.")
    place = Path(root).expanduser()
    if place.is_file() and place.suffix.lower() in TABLE_ENDINGS:
        _, _, labels, groups = read_table(place)
        return Found(place, dict(Counter(labels.tolist())), notes=(f"{len(set(groups))} groups.",))
    counts, missing_parts = {}, []
    notes = ["Files were counted, not decoded; loading lists damaged files."]
    tested = (place / "test").is_dir() or not (place / "train").is_dir()
    if not tested:
        notes.append(
            "There is no folder test: a detector can be trained and calibrated, not tested."
        )
    for part in ("train/normal", "test/normal", "test/abnormal")[: 3 if tested else 1]:
        counts[part] = len(images_below(place / part)) if (place / part).is_dir() else 0
        if not counts[part]:
            missing_parts.append(f"images in {place / part}")
    return Found(place, counts, tuple(missing_parts), tuple(notes))


def _count_chest_ct(root: str | Path | None) -> Found:
    images = chest_ct.read(root)
    return Found(
        find("chest-ct", root),
        dict(Counter(images.classes.tolist())),
        notes=(f"patches of 32×32 from {len(set(images.groups.tolist()))} slices of one patient.",),
    )


def _count_brain_mri(root: str | Path | None) -> Found:
    images = brain_mri.read(root)
    groups = {
        label: len(set(images.groups[images.classes == label].tolist()))
        for label in brain_mri.CLASSES
    }
    note = ", ".join(f"{count} of {label} images" for label, count in groups.items())
    return Found(
        find("brain-mri", root),
        dict(Counter(images.classes.tolist())),
        notes=(f"Groups of near-duplicates: {note}.",),
    )


_COUNTERS: dict[str, Callable[[str | Path | None], Found]] = {
    "digits": _count_digits,
    "cifar10": _count_cifar10,
    "ham10000": _count_ham10000,
    "ild": _count_ild,
    "lung_ct_98": _count_lung_ct_98,
    "chest-ct": _count_chest_ct,
    "brain-mri": _count_brain_mri,
    "folder": _count_folder,
}
