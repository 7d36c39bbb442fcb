"""Compute the numbers of an image set from its images and store them in ``data/results``."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from ccb_lib.chapters.facts import COMPUTED
from ccb_lib.io.project_data import project_data
from ccb_lib.io.writing import replacing


def write(name: str) -> None:
    """Compute the numbers of a set from its images and store them in ``data/results``.

    Args:
        name: ``"ham10000"`` or ``"brain-mri"``.

    Raises:
        FileNotFoundError: The images are not on this machine.
    """
    is_available, compute = COMPUTED[name]
    if not is_available():
        raise FileNotFoundError(f"{name} is not on this machine. Run `ccb data fetch {name}`.")
    path = project_data("results") / f"facts-{name}.json"
    text = json.dumps(_rounded(compute()), indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _rounded(item) for name, item in value.items()}
    return round(value, 5) if isinstance(value, float) else int(value)


if __name__ == "__main__":
    write(sys.argv[1])
