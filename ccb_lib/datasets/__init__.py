"""Real images, split for one-class learning: one file a data set."""

from importlib import import_module
from pathlib import Path
from typing import Any

from ccb_lib.datasets.base import AnomalySplit

DATASETS = ("digits", "cifar10", "ham10000", "ild", "brain-mri", "folder")
_SOURCES_OF_ILD = ("lung_ct_98", "chest-ct")

__all__ = ["DATASETS", "AnomalySplit", "check_name", "has_one_class", "load_dataset"]


def check_name(name: str) -> None:
    """Refuse what is no data set.

    Raises:
        ValueError: `load_dataset` knows no such data set; the message lists them.
    """
    if name in _SOURCES_OF_ILD:
        raise ValueError(
            f"{name!r} is a source of the data set 'ild': load_dataset('ild', source={name!r}, …), or in a "
            f"shell `ccb train ild --source {name} …`."
        )
    if name not in DATASETS:
        raise ValueError(f"Unknown data set {name!r}. There are: {', '.join(DATASETS)}.")


def has_one_class(name: str, source: str | None = None) -> bool:
    """Whether a data set has one abnormal class only, so that ``abnormal`` may be left out.

    Example:
        >>> has_one_class("ild"), has_one_class("ild", source="chest-ct")
        (False, True)
    """
    return name == "brain-mri" or (name == "ild" and source == "chest-ct")


def load_dataset(name: str, *, abnormal: Any = None, root: str | Path | None = None, **options: Any) -> AnomalySplit:
    """Load a data set, one class (or several) abnormal, the rest normal.

    Args:
        name: ``"digits"``, ``"cifar10"``, ``"ham10000"``, ``"ild"``, ``"brain-mri"`` or ``"folder"``.
        abnormal: The abnormal class. It may be left out where there is only one, and for a folder of normal images
            alone; elsewhere ``None`` is refused with the list of those there are.
        root: The folder of the files; by default ``$CCB_DATA``, else the nearest ``data/raw`` upwards.
        **options: Those of the data set's own ``load``, such as ``seed``, ``image_size`` and ``test``.

    Returns:
        Training, calibration and test images, uint8.

    Raises:
        ValueError: Unknown data set, class or option; the message lists those there are.
        FileNotFoundError: The files are not there; the message says how to get them.
    """
    check_name(name)
    load = import_module(f"ccb_lib.datasets.{name.replace('-', '_')}").load
    allowed = set(load.__kwdefaults__ or {}) - {"root", "abnormal"}
    if unknown := set(options) - allowed:
        raise ValueError(f"{name!r} has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(allowed))}.")
    return load(abnormal=abnormal, root=root, **options)
