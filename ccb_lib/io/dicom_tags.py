"""Numbers in the tags of a DICOM file, checked."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def numbers(data: "Dataset", tag: str) -> list[float]:
    """Return the numbers of a tag as a list, which is empty if the file does not have the tag.

    Raises:
        ValueError: A value is no finite number.

    Example:
        >>> from pydicom.dataset import Dataset
        >>> data = Dataset()
        >>> data.WindowWidth = [400, 80]
        >>> numbers(data, "WindowWidth"), numbers(data, "WindowCenter")
        ([400.0, 80.0], [])
    """
    try:
        value = data.get(tag)
        if value is None or value == "":
            return []
        found = [float(item) for item in value] if hasattr(value, "__iter__") else [float(value)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"its {tag} is no number ({error})") from error
    if not np.isfinite(found).all():
        raise ValueError(f"its {tag} is {value}")
    return found


def integer(data: "Dataset", tag: str, default: int = 1) -> int:
    """Return the one whole number of a tag; ``default`` if the file does not have the tag.

    Raises:
        ValueError: It is not one whole number from 0.

    Example:
        >>> from pydicom.dataset import Dataset
        >>> integer(Dataset(), "NumberOfFrames")
        1
    """
    found = numbers(data, tag) or [float(default)]
    if len(found) > 1 or not found[0].is_integer() or found[0] < 0:
        raise ValueError(f"its {tag} is {data.get(tag)}; one whole number is needed")
    return int(found[0])
