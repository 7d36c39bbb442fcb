"""What a step, a score and a load cost here: measured in one process, in turns, with medians and spread.

Variants of one setting take turns, so that whatever else the machine does meets all of them; each number is the median
over the turns, with the quartiles beside it.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ccb_lib.detectors import METHODS
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.environment import choose_device, seeded
from ccb_lib.models.small_maps import left_out_on
from ccb_lib.reproduction.runs import PAPER_METHODS
from ccb_lib.training.concurrent import run_concurrently
from ccb_lib.training.fast_steps import FastSteps
from ccb_lib.training.loop import eager_steps
from ccb_lib.training.types import Turns

PATHS = ("eager", "fast", "compiled", "padded")
_IMAGES = 1024  # random images to train on; what they show costs nothing more or less

Row = dict[str, Any]
Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting to measure.

    Attributes:
        method: As `METHODS` knows it.
        image_size, channels: Of the images.
        batch: Images in a step.
        width: Channels of the first convolution; ``None`` is the method's own.
        chain: Of CCB, from shallow to deep; ``None`` is its own.
        detectors: How many train at a time.
    """

    method: str = "ccb"
    image_size: int = 32
    channels: int = 3
    batch: int = 64
    width: int | None = None
    chain: tuple[int, ...] | None = None
    detectors: int = 1

    def detector(self, device: str, fast: bool | str, **settings: Any) -> AdversarialDetector:
        """Make a detector of this setting, with fresh networks and optimisers, as ``fit`` would."""
        given = {
            "width": self.width,
            "chain": self.chain if self.method == "ccb" else None,
            **settings,
        }
        given = {name: value for name, value in given.items() if value is not None}
        detector = METHODS[self.method](batch_size=self.batch, device=device, fast=fast, **given)
        assert isinstance(detector, AdversarialDetector)
        with seeded(detector.seed, detector.device_):
            built = detector.build(self.image_size, self.channels)
            detector.networks_ = {
                name: detector._placed(network) for name, network in built.items()
            }
        detector.optimizers_ = detector.build_optimizers()
        detector.image_size_, detector.channels_ = self.image_size, self.channels
        return detector

    def images(self, count: int) -> Tensor:
        """Random images, (count, C, H, W) uint8."""
        shape = (count, self.channels, self.image_size, self.image_size)
        return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        )


class Clock:
    """Seconds on a device: wall time; on a CPU with one thread the processor's, which other work does not lengthen."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.name = (
            "processor time"
            if device.type == "cpu" and torch.get_num_threads() == 1
            else "wall time"
        )

    def __call__(self, work: Callable[[], Any]) -> float:
        """Do the work and return the seconds it took, to its last kernel."""
        now = time.process_time if self.name == "processor time" else time.perf_counter
        self._wait()
        begun = now()
        work()
        self._wait()
        return now() - begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median and quartiles, rounded to so many significant digits."""
    low, middle, high = np.quantile(np.asarray(values), [0.25, 0.5, 0.75])
    return {
        name: float(f"{value:.{digits}g}")
        for name, value in (("median", middle), ("low", low), ("high", high))
    }


def in_turns(
    variants: dict[Name, Callable[[], Any]], clock: Clock, repeats: int
) -> dict[Name, list[float]]:
    """Time variants one after the other, again and again; the first round warms up and is not counted."""
    seconds: dict[Name, list[float]] = {name: [] for name in variants}
    for number in range(repeats + 1):
        for name, work in variants.items():
            taken = clock(work)
            if number:
                seconds[name].append(taken)
    return seconds


# ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Trainer:
    """Several detectors of one setting, ready to take steps by one path.

    ``"padded"`` is the fast path with all products with padding; see `ccb_lib.models.small_maps`.
    """

    def __init__(self, cell: Cell, path: str, device: str) -> None:
        fast = {"eager": False, "fast": True, "compiled": "compiled", "padded": True}[path]
        self.padded = path == "padded"
        self.detectors = [cell.detector(device, fast) for _ in range(cell.detectors)]
        self.device = self.detectors[0].device_
        self.images = cell.images(_IMAGES).to(self.device)
        self.batch = cell.batch
        self.ways = [
            FastSteps(layout=d._layout, compiled=path == "compiled") if fast else eager_steps
            for d in self.detectors
        ]
        for network in (net for detector in self.detectors for net in detector.networks_.values()):
            network.train()

    def __call__(self, steps: int) -> None:
        """Let every detector take so many steps."""
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
    """Measure milliseconds a training step of one detector, all settings and paths in turns.

    Args:
        cells: With ``detectors`` > 1 the time of all is divided by their number.
        device: As in `Detector`.
        steps: In one turn.
        repeats: Turns of each.
        paths: Of `PATHS`.
        group: Names what was measured in turns, and so may be compared most closely.

    Returns:
        A row for each cell and path: ``median``, ``low`` and ``high`` in ms; ``start``, seconds to the first step done;
        ``memory``, the most MiB that training took on CUDA, else ``None``; ``ratio``, the median of the first path's
        time over this one's in the same turn.
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
    """The most memory that PyTorch held on a GPU since it was made, beyond what it held then."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_reserved(device)

    def most(self) -> int | None:
        """In MiB."""
        if self.device.type != "cuda":
            return None
        return (torch.cuda.max_memory_reserved(self.device) - self.before) // 2**20


# ── scoring ───────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_scores(
    cell: Cell,
    *,
    device: str = "auto",
    count: int = 4096,
    repeats: int = 5,
    search_steps: int = 500,
) -> list[Row]:
    """Measure images scored in a second through `score_terms`, images on the CPU to begin with.

    Args:
        cell: The method, sizes and width; ``batch`` and ``detectors`` do not matter.
        device: As in `Detector`.
        count: Images in one turn.
        repeats: Turns of each path.
        search_steps: AnoGAN's.
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
            "what": "score", "unit": "images/s", **asdict(cell), "path": path, **spread([count / s for s in taken]),
            "ratio": spread(first / np.asarray(taken))["median"],
            "count": count, "repeats": repeats, "clock": clock.name, **settings,
        }
        for path, taken in seconds.items()
    ]  # fmt: skip


def _score(detector: AdversarialDetector, images: Tensor) -> None:
    getattr(detector, "_found", {}).clear()  # AnoGAN would remember
    detector.score_terms(images)


# ── what to measure ───────────────────────────────────────────────────────────────────────────────────────────────


def benchmark_cells(
    *,
    methods: Sequence[str] = PAPER_METHODS,
    image_sizes: Sequence[int] = (32, 64, 128),
    batches: Sequence[int] = (16, 64, 256),
    chains: Sequence[tuple[int, ...]] = (
        (0, 0, 0, 0),
        (4, 3, 2, 1),
        (8, 6, 4, 2),
        (16, 12, 8, 4),
        (32, 24, 16, 8),
    ),
    detectors: Sequence[int] = (1, 2, 5, 10),
    width: int | None = None,
) -> dict[str, list[Cell]]:
    """List what is worth measuring, in groups to be measured in turns.

    Returns:
        ``"method"``: each method at 32 px, alone and as many at a time as there may be; and for CCB ``"image_size"``,
        ``"batch"``, ``"chain"`` and ``"detectors"``, the paper's setting changed along that axis alone.
    """
    own = Cell(width=width)
    groups = {
        "method": [
            replace(own, method=m, detectors=n)
            for m in methods
            for n in sorted({1, max(detectors)})
        ]
    }
    if "ccb" in methods:
        axes = {
            "image_size": image_sizes,
            "batch": batches,
            "chain": chains,
            "detectors": detectors,
        }
        groups |= {
            name: [replace(own, **{name: value}) for value in values]
            for name, values in axes.items()
        }
    return groups
