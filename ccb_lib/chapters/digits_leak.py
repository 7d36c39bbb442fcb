"""The leak of batch statistics on all ten classes of digits: measured once, stored, read.

One small Skip-GANomaly is trained for each digit as the abnormal class. Its test set is scored with
running statistics, and with batch statistics for several batch sizes and orders.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ccb_lib.datasets import load_dataset
from ccb_lib.detectors.skip_ganomaly import SkipGANomaly
from ccb_lib.evaluation.batch_leak import leak_table
from ccb_lib.io.project_data import project_data
from ccb_lib.io.tensors import load_tensors, save_tensors
from ccb_lib.metrics import auc

FILE = "digits-leak.safetensors"
SIZES, PURITIES = (16, 64), (0.0, 0.5, 0.9, 1.0)  # an image alone in its batch has no order
_CLEAN, _ALONE = "clean", "1|0.0"

Cell = tuple[NDArray[np.float32], NDArray[np.bool_]]


def measure_digits(
    path: str | Path,
    *,
    digits: Sequence[int] = tuple(range(10)),
    width: int = 8,
    epochs: int = 50,
    device: str = "auto",
) -> None:
    """Train one Skip-GANomaly for each digit, score it under each feeding, and write a file.

    Args:
        path: The file to write, safetensors.
        digits: The abnormal classes, 0…9.
        width, epochs: Of each network; the other settings are the method's own.
        device: As for the detectors.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "leak.safetensors"
        >>> measure_digits(path, digits=[3], width=2, epochs=1, device="cpu")
        >>> list(leak_by_digit(path).index)
        [3]
    """
    stored: dict[str, torch.Tensor] = {}
    for digit in digits:
        split = load_dataset("digits", abnormal=digit)
        detector = SkipGANomaly(width=width, epochs=epochs, device=device)
        detector.fit(split.train, calibration=split.calibration, progress=False)
        cells = leak_table(detector, split, batch_sizes=(1,), purities=(0.0,))
        cells |= leak_table(detector, split, batch_sizes=SIZES, purities=PURITIES)
        scores = {f"{size:g}|{purity}": cell[0] for (size, purity), cell in cells.items()}
        scores[_CLEAN] = detector.decision_function(split.test)
        scores["labels"] = split.test_labels
        stored |= {f"{digit}|{name}": torch.from_numpy(np.array(v)) for name, v in scores.items()}
    save_tensors(path, stored, {"method": "skip-ganomaly", "width": width, "epochs": epochs})


def leak_cells(path: str | Path | None = None) -> dict[tuple[str, int, float], Cell]:
    """Read the scores with batch statistics, by digit, batch size and purity.

    Args:
        path: A file of `measure_digits`; the stored one in ``data/results`` by default.

    Returns:
        ("digit 0", 64, 1.0) → (scores, labels), (K,) each, in the form that
        `ThresholdExplorer.from_table` takes. Purity as in
        `ccb_lib.evaluation.batch_leak.mixed_order`. At batch size 1 all purities have the same
        scores, because the order has no effect.

    Example:
        >>> scores, labels = leak_cells()["digit 0", 64, 1.0]
        >>> scores.shape == labels.shape
        True
    """
    stored, _ = _read(path)
    return {
        (f"digit {digit}", size, purity): (
            stored[f"{digit}|{_ALONE if size == 1 else f'{size}|{purity}'}"].numpy(),
            stored[f"{digit}|labels"].numpy(),
        )
        for digit in _digits(stored)
        for size in (1, *SIZES)
        for purity in PURITIES
    }


def leak_by_digit(path: str | Path | None = None) -> pd.DataFrame:
    """Return the AUC of each digit under four ways to feed the same test images.

    Args:
        path: As for `leak_cells`.

    Returns:
        One row a digit (the index). Columns ``normals first`` and ``shuffled``, batch statistics of
        64 images; ``one at a time``, batch statistics of one image; ``clean``, running statistics.
        0…1, higher is better. ``attrs`` has the method, its width and its epochs.

    Example:
        >>> leak_by_digit().shape
        (10, 4)
    """
    stored, about = _read(path)
    shown = {"normals first": "64|1.0", "shuffled": "64|0.0", "one at a time": _ALONE}
    frame = pd.DataFrame(
        {
            digit: {
                column: auc(stored[f"{digit}|{name}"].numpy(), stored[f"{digit}|labels"].numpy())
                for column, name in {**shown, _CLEAN: _CLEAN}.items()
            }
            for digit in _digits(stored)
        }
    ).T
    frame.attrs = about
    return frame


def _read(path: str | Path | None) -> tuple[dict[str, torch.Tensor], dict]:
    return load_tensors(project_data("results") / FILE if path is None else path)


def _digits(stored: dict[str, torch.Tensor]) -> list[int]:
    return sorted({int(name.split("|")[0]) for name in stored})
