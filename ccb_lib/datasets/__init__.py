"""Data sets of real images, split for one-class learning; one module per data set."""

from importlib import import_module
from pathlib import Path
from typing import Any

from ccb_lib.datasets.base import AnomalySplit

DATASETS = ("digits", "cifar10", "ham10000", "ild", "brain-mri", "folder")
_SOURCES_OF_ILD = ("lung_ct_98", "chest-ct")

__all__ = ["DATASETS", "AnomalySplit", "check_name", "load_dataset"]


def check_name(name: str) -> None:
    """Raise if a name is no data set.

    Raises:
        ValueError: `load_dataset` has no such data set; the message lists all names.
    """
    if name in _SOURCES_OF_ILD:
        raise ValueError(
            f"{name!r} is a source of the data set 'ild': load_dataset('ild', source={name!r}, …), "
            f"or in a shell `ccb train ild --source {name} …`."
        )
    if name not in DATASETS:
        raise ValueError(f"Unknown data set {name!r}. There are: {', '.join(DATASETS)}.")


def load_dataset(
    name: str, *, abnormal: Any = None, root: str | Path | None = None, **options: Any
) -> AnomalySplit:
    """Load a data set with one class, or several classes, abnormal.

    Args:
        name: ``"digits"``, ``"cifar10"``, ``"ham10000"``, ``"ild"``, ``"brain-mri"`` or
            ``"folder"``.
        abnormal: The abnormal class. It is optional for a data set with only one abnormal class and
            for a folder of normal images only. Otherwise ``None`` raises an error that lists the
            classes.
        root: The folder of the files; by default ``$CCB_DATA``, else the nearest ``data/raw`` in
            the current folder or above.
        **options: Options of the data set's own ``load``, such as ``seed``, ``image_size`` and
            ``test``.

    Returns:
        Training, calibration and test images, uint8.

    Raises:
        ValueError: An unknown data set, class or option; the message lists the known ones.
        FileNotFoundError: The files are not on this machine; the message says how to get them.

    Example:
        >>> split = load_dataset("digits", abnormal=8)
        >>> split.test_labels.sum() == (split.test_classes == "8").sum()
        np.True_
    """
    check_name(name)
    load = import_module(f"ccb_lib.datasets.{name.replace('-', '_')}").load
    allowed = set(load.__kwdefaults__ or {}) - {"root", "abnormal"}
    if unknown := set(options) - allowed:
        raise ValueError(
            f"{name!r} has no option {', '.join(sorted(unknown))}; it has "
            f"{', '.join(sorted(allowed))}."
        )
    return load(abnormal=abnormal, root=root, **options)
