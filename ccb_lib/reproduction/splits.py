"""The images of a run: one split for each of its classes and kinds of test set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ccb_lib.datasets import AnomalySplit, load_dataset
from ccb_lib.datasets.splits import balanced_draw, with_tests
from ccb_lib.evaluation.protocols import RELEASED
from ccb_lib.reproduction.runs import Run


def splits_of(run: Run, root: str | None) -> dict[tuple[str, str], AnomalySplit]:
    """Load the splits of a run, by class and kind of test set, in the order of its protocols.

    Args:
        run: The run.
        root: Folder of the images.
    """
    options = dict(run.options)
    test_limit = options.pop("test_limit", None)
    draws = {protocol.test_set: protocol.draw for protocol in run.protocols}
    splits = {}
    for abnormal in run.abnormal:
        # Draws use the pixels of the split that they are drawn from, which is loaded once.
        loaded: dict[str, AnomalySplit] = {}
        for which, draw in draws.items():
            test = "balanced" if which == RELEASED.test_set else "natural"
            if test not in loaded:
                own = {"test": test} if run.dataset in ("ham10000", "ild") else {}
                loaded[test] = load_dataset(
                    run.dataset, abnormal=abnormal, root=root, **{**options, **own}
                )
            split = balanced_draw(loaded[test], draw) if draw else loaded[test]
            if test_limit is not None:
                split = limited(split, test_limit, parts=("calibration",))
            splits[abnormal, which] = split if run.limit is None else limited(split, run.limit)
    return splits


def limited(
    split: AnomalySplit, limit: int, *, parts: Sequence[str] = ("train", "calibration")
) -> AnomalySplit:
    """Keep ``limit`` normal and abnormal test images at most, and as many of each of ``parts``."""
    normal, abnormal = (np.flatnonzero(split.test_labels == kept)[:limit] for kept in (False, True))
    columns = {
        name: getattr(split, name)[:limit]
        for part in parts
        for name in (part, f"{part}_ids", f"{part}_groups")
    }
    return replace(with_tests(split, np.concatenate([normal, abnormal])), **columns)
