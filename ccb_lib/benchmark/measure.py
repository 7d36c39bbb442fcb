"""Time per training step and images scored per second, as medians with quartiles.

All variants are measured in one process, alternately, so that other load on the machine affects all
of them. Each number is a median over the rounds.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ccb_lib.benchmark.cells import Cell
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.environment import choose_device
from ccb_lib.models.small_maps import left_out_on
from ccb_lib.training.concurrent import run_concurrently
from ccb_lib.training.types import Turns

PATHS = ("eager", "fast", "compiled", "padded")
_IMAGES = 1024  # random training images; the time of a step does not depend on their content

Row = dict[str, Any]
Name = TypeVar("Name")


class Clock:
    """Measures seconds of work on a device.

    Wall time, or on a CPU with one thread processor time, which other programs do not lengthen.
    """

    # Not torch.utils.benchmark.Timer: it measures wall time only, waits for the current GPU only,
    # and calls the work twice more for each measurement, which alternate rounds repeat often.

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.name = (
            "processor time"
            if device.type == "cpu" and torch.get_num_threads() == 1
            else "wall time"
        )

    def __call__(self, work: Callable[[], Any]) -> float:
        """Return the seconds of ``work()``, until its last CUDA kernel has finished."""
        now = time.process_time if self.name == "processor time" else time.perf_counter
        self._wait()
        begun = now()
        work()
        self._wait()
        return now() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles, rounded to four significant digits.

    >>> spread([1.0, 2.0, 3.0])
    {'median': 2.0, 'low': 1.5, 'high': 2.5}
    """
    low, middle, high = np.quantile(np.asarray(values), [0.25, 0.5, 0.75])
    return {
        name: float(f"{value:.4g}")
        for name, value in (("median", middle), ("low", low), ("high", high))
    }


def in_turns(
    variants: dict[Name, Callable[[], Any]], clock: Clock, repeats: int
) -> dict[Name, list[float]]:
    """Time all variants in each of several rounds.

    The first round is not counted: it includes allocation and the choice of kernels.

    Args:
        variants: Functions to time, by name.
        clock: Measures one call.
        repeats: Number of counted rounds.

    Returns:
        Seconds of each round, by name.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in variants}
    for number in range(repeats + 1):
        for name, work in variants.items():
            taken = clock(work)
            if number:
                seconds[name].append(taken)
    return seconds


# ── training ─────────────────────────────────────────────────────────────────────────────────────


class Trainer:
    """Several detectors of one setting that take training steps by one of `PATHS`.

    ``"padded"`` is the fast path that also multiplies by the zeros of the padding; see
    `ccb_lib.models.small_maps`.
    """

    def __init__(self, cell: Cell, path: str, device: str) -> None:
        fast = {"eager": False, "fast": True, "compiled": "compiled", "padded": True}[path]
        self.padded = path == "padded"
        self.detectors = [cell.detector(device, fast) for _ in range(cell.detectors)]
        self.device = self.detectors[0].device_
        self.images = cell.images(_IMAGES).to(self.device)
        self.batch = cell.batch
        self.ways = [detector.make_steps() for detector in self.detectors]
        for network in (net for detector in self.detectors for net in detector.networks_.values()):
            network.train()

    def __call__(self, steps: int) -> None:
        """Take a number of steps with every detector."""
        order = torch.randint(0, _IMAGES, (steps, self.batch), device=self.device)
        starts = [partial(self._turns, number, order) for number in range(len(self.detectors))]
        with left_out_on() if self.padded else nullcontext():
            for _, result in run_concurrently(starts, self.device, at_once=len(starts)):
                if isinstance(result, Exception):
                    raise result

    def _turns(self, number: int, order: Tensor) -> Turns[None]:
        way = self.ways[number]
        for _ in way(self.detectors[number], self.images, order, number):
            yield getattr(way, "independent", False)


def measure_steps(
    cells: Sequence[Cell],
    *,
    device: str = "auto",
    steps: int = 50,
    repeats: int = 7,
    paths: Sequence[str] = PATHS[:2],
    group: str = "",
) -> list[Row]:
    """Measure milliseconds per training step of one detector, with all cells and paths alternately.

    Args:
        cells: Settings. With ``detectors`` > 1 the time of all is divided by their number.
        device: As in `Detector`.
        steps: Steps per round.
        repeats: Number of rounds.
        paths: Some of `PATHS`.
        group: A name for cells that were measured alternately; these are comparable.

    Returns:
        One row per cell and path: ``median``, ``low`` and ``high`` (quartiles) in ms; ``start``,
        seconds until the first step was done; ``memory``, the peak memory of training in MiB on
        CUDA, else ``None``; ``ratio``, the median over rounds of the first path's time divided by
        this path's time.
    """
    clock = Clock(choose_device(device))
    trainers: dict[Any, Trainer] = {}
    facts = {}
    for variant in itertools.product(cells, paths):
        used = _Memory(clock.device)
        begun = time.perf_counter()
        trainers[variant] = Trainer(*variant, device)
        clock(partial(trainers[variant], 1))
        start = round(time.perf_counter() - begun, 2)
        clock(partial(trainers[variant], 3))
        facts[variant] = {"start": start, "memory": used.most()}
    seconds = in_turns(
        {variant: partial(trainer, steps) for variant, trainer in trainers.items()}, clock, repeats
    )
    return [
        {
            "what": "step", "unit": "ms", **asdict(cell), "path": path, "group": group,
            **spread([1e3 * s / (steps * cell.detectors) for s in taken]),
            "ratio": spread(np.divide(seconds[cell, paths[0]], taken))["median"],
            **facts[cell, path], "steps": steps, "repeats": repeats, "clock": clock.name,
        }
        for (cell, path), taken in seconds.items()
    ]  # fmt: skip


class _Memory:
    """The peak of PyTorch's reserved GPU memory since creation, above the amount at creation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_reserved(device)

    def most(self) -> int | None:
        """Return the peak in MiB, or ``None`` on a CPU."""
        if self.device.type != "cuda":
            return None
        return (torch.cuda.max_memory_reserved(self.device) - self.before) // 2**20


# ── scoring ──────────────────────────────────────────────────────────────────────────────────────


def measure_scores(
    cell: Cell,
    *,
    device: str = "auto",
    count: int = 4096,
    repeats: int = 5,
    search_steps: int = 500,
) -> list[Row]:
    """Measure images scored per second by `score_terms`; the images lie in CPU memory.

    Args:
        cell: Method, sizes and width; ``batch`` and ``detectors`` are not used.
        device: As in `Detector`.
        count: Images per round.
        repeats: Number of rounds.
        search_steps: Search steps of AnoGAN.

    Returns:
        One row per path (eager, fast): ``median``, ``low`` and ``high`` in images per second.
    """
    clock = Clock(choose_device(device))
    images = cell.images(count)
    settings = {"search_steps": search_steps} if cell.method == "anogan" else {}
    variants = {}
    for path in PATHS[:2]:
        detector = cell.detector(device, path == "fast", **settings)
        detector.show_progress = False
        for network in detector.networks_.values():
            network.eval()
        variants[path] = partial(_score, detector, images)
    seconds = in_turns(variants, clock, repeats)
    first = np.asarray(seconds["eager"])
    return [
        {
            "what": "score", "unit": "images/s", **asdict(cell), "path": path,
            **spread([count / s for s in taken]),
            "ratio": spread(first / np.asarray(taken))["median"],
            "count": count, "repeats": repeats, "clock": clock.name, **settings,
        }
        for path, taken in seconds.items()
    ]  # fmt: skip


def _score(detector: AdversarialDetector, images: Tensor) -> None:
    images += 1  # AnoGAN caches what it found for an image; other pixels are searched again
    detector.score_terms(images)
