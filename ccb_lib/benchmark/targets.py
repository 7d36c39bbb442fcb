"""Performance targets of the fast path, and their measurement on this machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from ccb_lib.benchmark.cells import Cell
from ccb_lib.benchmark.measure import Row, measure_scores, measure_steps
from ccb_lib.detectors import METHODS, adversarial
from ccb_lib.environment import choose_device
from ccb_lib.reproduction.registry import PAPER_METHODS
from ccb_lib.training.fast_steps import FastSteps

# A training step of the public Skip-GANomaly code on one H100, measured before this code existed.
PUBLIC_CODE_MS = 19.5
TABLE_1 = {"classes": 10, "epochs": 50, "train": 42_750, "calibration": 2_250, "test": 15_000}


@dataclass
class Target:
    """A performance target with its measured value.

    Attributes:
        name: Description of the measured quantity.
        limit: The target value.
        unit: Unit of both values.
        at_most: Whether the measured value must be at most ``limit``; otherwise at least.
        measured: The measured value; ``None`` if it was not measured.
        detail: Further measured values that explain it.
    """

    name: str
    limit: float
    unit: str
    at_most: bool = True
    measured: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; ``None`` if it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    @property
    def limit_words(self) -> str:
        """The limit as text with ≤ or ≥ and its unit."""
        return f"{'≤' if self.at_most else '≥'} {self.limit:g} {self.unit}"

    def as_row(self) -> Row:
        """Return the fields and ``reached`` as JSON."""
        return {**self.__dict__, "reached": self.reached}


Measured = tuple[float, dict[str, Any]]


def promised() -> list[tuple[str, Target]]:
    """Return the targets with their kind of device: ``"cuda"`` (an H100) or ``"cpu"``."""
    return [
        ("cuda", Target("CCB, 32 px, batch 64: a step with ten detectors in flight", 0.5, "ms")),
        ("cuda", Target("CCB, 32 px, batch 64: a step with one detector", 1.5, "ms")),
        (
            "cuda",
            Target(
                "Table 1: five methods, ten classes, 50 epochs, AnoGAN's search, scored once",
                25.0,
                "min",
            ),
        ),
        (
            "cuda",
            Target("CCB, 32 px: images scored in a second", 200_000.0, "images/s", at_most=False),
        ),
        (
            "cuda",
            Target(
                "bfloat16: its mean AUC from float32's, in what another seed changes",
                1.0,
                "spreads",
            ),
        ),
        (
            "cpu",
            Target(
                "The plain path's time over the fast one's, at the worst",
                1.0,
                "times",
                at_most=False,
            ),
        ),
    ]


def measure_targets(
    device: str = "auto", *, quick: bool = False, say: Callable[[Target], None] | None = None
) -> list[Target]:
    """Measure the targets of the given kind of device; those of the other kind stay unmeasured.

    Args:
        device: As in `Detector`.
        quick: Take fewer steps and rounds, as a test; the numbers are rough.
        say: Called with each target when it is measured.

    Returns:
        All targets.
    """
    here = choose_device(device).type
    steps, repeats = (5, 2) if quick else (50, 5)
    measures: list[Callable[[], Measured]] = [
        partial(_step, device, 10, steps, repeats),
        partial(_step, device, 1, steps, repeats),
        partial(_table_1, device, steps, repeats, 512 if quick else 4096),
        partial(_scores, device, 4096 if quick else 65_536),
        partial(_bfloat16, device, 1 if quick else 5),
        partial(_on_cpu, 1 if quick else 2, 3 if quick else 25),
    ]
    targets = []
    for (kind, target), measure in zip(promised(), measures, strict=True):
        if kind == here:
            target.measured, target.detail = measure()
        targets.append(target)
        if say is not None:
            say(target)
    return targets


def _step(device: str, detectors: int, steps: int, repeats: int) -> Measured:
    plain, fast = measure_steps(
        [Cell(detectors=detectors)], device=device, steps=steps, repeats=repeats
    )
    times = {"times the public code's speed": round(PUBLIC_CODE_MS / fast["median"], 1)}
    return fast["median"], {
        "plain": plain["median"],
        "low": fast["low"],
        "high": fast["high"],
        **times,
    }


def _table_1(device: str, steps: int, repeats: int, searched: int) -> Measured:
    """Return the minutes of Table 1, computed from measured times per step and per image."""
    minutes = {}
    for method in PAPER_METHODS:
        cell = Cell(method=method, detectors=10, batch=METHODS[method].batch_size)
        (trained,) = measure_steps(
            [cell], device=device, steps=steps, repeats=repeats, paths=("fast",)
        )
        count = searched if method == "anogan" else 16 * searched
        _, scored = measure_scores(cell, device=device, count=count, repeats=min(repeats, 2))
        taken = (
            TABLE_1["classes"]
            * TABLE_1["epochs"]
            * (TABLE_1["train"] // cell.batch)
            * trained["median"]
            / 1e3
        )
        taken += TABLE_1["classes"] * (TABLE_1["test"] + TABLE_1["calibration"]) / scored["median"]
        minutes[method] = round(taken / 60, 2)
    return round(sum(minutes.values()), 2), minutes


def _scores(device: str, count: int) -> Measured:
    plain, fast = measure_scores(Cell(), device=device, count=count)
    return fast["median"], {"plain": plain["median"], "low": fast["low"], "high": fast["high"]}


def _bfloat16(device: str, epochs: int) -> Measured:
    """Return the change of CCB's mean AUC on digits by bfloat16, in spreads of float32 seeds."""
    from sklearn.metrics import roc_auc_score

    from ccb_lib.datasets import load_dataset

    split = load_dataset("digits", abnormal=8)
    aucs = {}
    kept = adversarial.FastSteps
    for precision in (torch.float32, torch.bfloat16):
        adversarial.FastSteps = partial(FastSteps, precision)  # type: ignore[misc]
        try:
            fitted = [
                METHODS["ccb"](epochs=epochs, width=16, seed=seed, device=device, fast=True)
                for seed in range(3)
            ]  # type: ignore[call-arg]
            scores = [
                d.fit(split.train, progress=False).decision_function(split.test) for d in fitted
            ]
        finally:
            adversarial.FastSteps = kept  # type: ignore[misc]
        aucs[str(precision)] = [
            round(float(roc_auc_score(split.test_labels, found)), 4) for found in scores
        ]
    whole, half = (np.array(column) for column in aucs.values())
    # The spread of float32 only: a larger spread of bfloat16 must not make its target easier.
    between_seeds = max(np.ptp(whole), 0.01)
    return round(float(abs(whole.mean() - half.mean()) / between_seeds), 3), aucs


def _on_cpu(steps: int, repeats: int) -> Measured:
    cells = [
        Cell(method=m, width=w, batch=METHODS[m].batch_size)
        for m in PAPER_METHODS
        for w in (4, 8, 16)
    ]
    rows = measure_steps(cells, device="cpu", steps=steps, repeats=repeats)
    ratios = {
        f"{row['method']}, width {row['width']}": row["ratio"]
        for row in rows
        if row["path"] == "fast"
    }
    return min(ratios.values()), ratios
