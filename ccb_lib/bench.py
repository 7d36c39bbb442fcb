"""What a step, a score and a load cost here: measured in one process, in turns, with medians and spread.

Variants of one setting take turns, so that whatever else the machine does meets all of them; each number is the median
over the turns, with the quartiles beside it.
"""

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ccb_lib.detectors import METHODS
from ccb_lib.detectors.adversarial import AdversarialDetector
from ccb_lib.fast import FastSteps, side_by_side
from ccb_lib.half import HalfWeights
from ccb_lib.runs import PAPER_METHODS
from ccb_lib.training import Turns, choose_device, eager_steps, seeded

PATHS = ("eager", "fast", "compiled")
_IMAGES = 1024  # random images to train on; what they show costs nothing more or less

Row = dict[str, Any]


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
        given = {"width": self.width, "chain": self.chain if self.method == "ccb" else None, **settings}
        given = {name: value for name, value in given.items() if value is not None}
        detector = METHODS[self.method](batch_size=self.batch, device=device, fast=fast, **given)
        assert isinstance(detector, AdversarialDetector)
        with seeded(detector.seed, detector.device_):
            built = detector.build(self.image_size, self.channels)
            detector.networks_ = {name: detector._placed(network) for name, network in built.items()}
        detector.optimizers_ = detector.build_optimizers()
        detector.image_size_, detector.channels_ = self.image_size, self.channels
        return detector

    def images(self, count: int) -> Tensor:
        """Random images, (count, C, H, W) uint8."""
        shape = (count, self.channels, self.image_size, self.image_size)
        return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


class Clock:
    """Seconds on a device: wall time; on a CPU with one thread the processor's, which other work does not lengthen."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.name = "processor time" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall time"

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
    return {name: float(f"{value:.{digits}g}") for name, value in (("median", middle), ("low", low), ("high", high))}


def in_turns(variants: dict[str, Callable[[], Any]], clock: Clock, repeats: int) -> dict[str, list[float]]:
    """Time variants one after the other, again and again; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(repeats + 1):
        for name, work in variants.items():
            taken = clock(work)
            if number:
                seconds[name].append(taken)
    return seconds


# ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Trainer:
    """Several detectors of one setting, ready to take steps by one path."""

    def __init__(self, cell: Cell, path: str, device: str) -> None:
        fast = {"eager": False, "fast": True, "compiled": "compiled"}[path]
        self.detectors = [cell.detector(device, fast) for _ in range(cell.detectors)]
        self.device = self.detectors[0].device_
        self.images = cell.images(_IMAGES).to(self.device)
        self.batch = cell.batch
        self.ways = [
            FastSteps(layout=d._layout, compiled=path == "compiled") if fast else eager_steps for d in self.detectors
        ]
        for network in (net for detector in self.detectors for net in detector.networks_.values()):
            network.train()

    def __call__(self, steps: int) -> None:
        """Let every detector take so many steps."""
        order = torch.randint(0, _IMAGES, (steps, self.batch), device=self.device)
        starts = [partial(self._turns, number, order) for number in range(len(self.detectors))]
        for _, result in side_by_side(starts, self.device, at_once=len(starts)):
            if isinstance(result, Exception):
                raise result

    def _turns(self, number: int, order: Tensor) -> Turns[None]:
        way = self.ways[number]
        for _ in way(self.detectors[number], self.images, order, number):
            yield getattr(way, "independent", False)


def measure_steps(
    cell: Cell, *, device: str = "auto", steps: int = 50, repeats: int = 7, paths: Sequence[str] = PATHS[:2]
) -> list[Row]:
    """Measure milliseconds a training step of one detector, by each path in turn.

    Args:
        cell: With ``detectors`` > 1 the time of all is divided by their number.
        device: As in `Detector`.
        steps: In one turn.
        repeats: Turns of each path.
        paths: Of `PATHS`.

    Returns:
        A row for each path: ``median``, ``low`` and ``high`` in ms; ``start``, seconds to the first step done;
        ``memory``, the most MiB that training took on CUDA, else ``None``; ``ratio``, the median of the first path's
        time over this one's in the same turn.
    """
    clock = Clock(choose_device(device))
    trainers, starts, memory = {}, {}, {}
    for path in paths:
        used = _Memory(clock.device)
        begun = time.perf_counter()
        trainers[path] = Trainer(cell, path, device)
        clock(partial(trainers[path], 1))
        starts[path] = time.perf_counter() - begun
        clock(partial(trainers[path], 3))
        memory[path] = used.most()
    seconds = in_turns({path: partial(trainer, steps) for path, trainer in trainers.items()}, clock, repeats)
    first = np.asarray(seconds[paths[0]])
    return [
        {
            "what": "step", "unit": "ms", **asdict(cell), "path": path,
            **spread([1e3 * s / (steps * cell.detectors) for s in taken]),
            "ratio": spread(first / np.asarray(taken))["median"],
            "start": round(starts[path], 2), "memory": memory[path],
            "steps": steps, "repeats": repeats, "clock": clock.name,
        }
        for path, taken in seconds.items()
    ]  # fmt: skip


def measure_threads(cell: Cell, *, counts: Sequence[int] = (1, 2), steps: int = 2, repeats: int = 5) -> list[Row]:
    """Measure a fast step on a CPU with several numbers of threads, in wall time.

    Args:
        cell, steps: As in `measure_steps`.
        counts: Threads.
        repeats: Turns in a block; each number of threads has three blocks, in turns.

    Returns:
        A row for each; ``best`` is the fastest turn, which other work on the machine lengthened least.
    """
    trainer, kept = Trainer(cell, "fast", "cpu"), torch.get_num_threads()
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    try:
        for count in (*counts, *counts, *counts):
            torch.set_num_threads(count)
            trainer(1)
            for _ in range(repeats):
                begun = time.perf_counter()
                trainer(steps)
                seconds[count].append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(kept)
    return [
        {
            "what": "threads", "unit": "ms", **asdict(cell), "path": f"{count} thread{'s' * (count > 1)}",
            **spread([1e3 * s / (steps * cell.detectors) for s in taken]),
            "best": float(f"{1e3 * min(taken) / (steps * cell.detectors):.4g}"),
            "steps": steps, "repeats": 3 * repeats, "clock": "wall time",
        }
        for count, taken in seconds.items()
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


# ── scoring and loading ───────────────────────────────────────────────────────────────────────────────────────────


def measure_scores(
    cell: Cell, *, device: str = "auto", count: int = 4096, repeats: int = 5, search_steps: int = 500
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


def measure_load(root: Path) -> list[Row]:
    """Measure seconds to load CIFAR-10: cold decodes its files, warm takes what a load before it left.

    Args:
        root: The folder that holds ``cifar10`` as class folders, or the official batches.

    Returns:
        Two rows. Cold means that nothing was decoded before; the system may still have the files in memory.
    """
    from ccb_lib.datasets import cifar10

    begun, rows = time.perf_counter, []
    with tempfile.TemporaryDirectory() as folder:
        source = next(path for path in (root / "cifar10", root / "cifar-10-batches-py") if path.is_dir())
        target = Path(folder) / source.name
        target.mkdir()
        for entry in source.iterdir():
            if not entry.name.startswith("."):
                (target / entry.name).symlink_to(entry.resolve(), target_is_directory=entry.is_dir())
        for which in ("cold", "warm"):
            start = begun()
            cifar10.load(abnormal="airplane", root=folder)
            rows.append({"what": "load", "unit": "s", "path": which, "median": round(begun() - start, 3)})
    return rows


# ── where the time goes ───────────────────────────────────────────────────────────────────────────────────────────


def profile(cell: Cell, *, device: str = "auto", path: str = "fast", steps: int = 10, top: int = 20) -> list[Row]:
    """Name what takes the time of a step: kernels on CUDA, operators on a CPU.

    Args:
        cell, device: As in `measure_steps`.
        path: Of `PATHS`.
        steps: Watched.
        top: How many to name.

    Returns:
        A row for each, the dearest first: ``name``, ``calls`` and ``ms`` a step of one detector, ``share`` of the sum;
        and a last row for all others together.
    """
    trainer = Trainer(cell, path, device)
    trainer(5)
    cuda = trainer.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA] if cuda else [activity.CPU]) as watched:
        trainer(steps)
        if cuda:
            torch.cuda.synchronize()
    events = [event for event in watched.key_averages() if (str(event.device_type).endswith("CUDA")) == cuda]
    found = [(e.key, e.count, (e.self_device_time_total if cuda else e.self_cpu_time_total) / 1e3) for e in events]
    found = sorted((event for event in found if event[2] > 0), key=lambda event: -event[2])
    total = sum(ms for _, _, ms in found)
    rest = found[top:]
    named = [*found[:top], *([("all others", sum(n for _, n, _ in rest), sum(ms for *_, ms in rest))] if rest else [])]
    taken = steps * cell.detectors
    return [
        {"name": name, "calls": count / taken, "ms": float(f"{ms / taken:.3g}"), "share": round(ms / total, 4)}
        for name, count, ms in named
    ]


class _Operations(TorchDispatchMode):
    """Counts operations as they reach a device, but for those that only look at a tensor in another way."""

    _NO_WORK = re.compile(
        r"aten\.(_?unsafe_view|view|_reshape_alias|t\.|expand|detach|alias|as_strided|empty|slice|select\.|"
        r"squeeze|unsqueeze|permute|transpose|split|_local_scalar_dense)|profiler\."
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._NO_WORK.match(str(function)):
            self.found[str(function).removeprefix("aten.")] += 1
        return function(*args, **(kwargs or {}))


def count_operations(method: str) -> list[Row]:
    """Count what a training step asks of the device, from forward to optimiser: about as many kernels on a GPU.

    The count does not depend on sizes or on the machine. Three ways: plain PyTorch; the fast path as PyTorch's own
    autocast would have it in bfloat16; the fast path, which casts all weights of a network at once.

    Returns:
        A row for each way: ``median``, the count, and ``most``, the ten most frequent operations with theirs.
    """
    rows = []
    for way in ("eager", "fast, autocast alone", "fast"):
        detector = Cell(method=method, width=4, batch=4).detector("cpu", way != "eager")
        for network in detector.networks_.values():
            network.train()
        for optimizer in detector.optimizers_.values() if way == "eager" else ():
            optimizer.param_groups[0]["foreach"] = True  # what PyTorch does on a GPU, if not on a CPU
        learning = detector.networks_
        if way == "fast":
            halved = {name: HalfWeights(learning[name]) for name in detector.optimizers_}
            detector.networks_ = {**learning, **halved}
        x = torch.zeros(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=way != "eager", cache_enabled=False):
            detector.training_step(x)  # optimisers make their state
            with _Operations() as operations:
                detector.training_step(x)
        found = operations.found
        rows.append(
            {"what": "operations", "unit": "a step", "method": method, "path": way, "median": sum(found.values()),
             "most": dict(found.most_common(10))}
        )  # fmt: skip
    return rows


def measure_chapter(chapter: Path, models: Path) -> list[Row]:
    """Measure the seconds that a chapter of the book takes to execute, with nothing trained before.

    Args:
        chapter: Its MyST Markdown file; executed in its folder.
        models: An empty folder for what it trains.
    """
    import jupytext
    from nbclient import NotebookClient

    os.environ["CCB_MODELS"], kept = str(models), os.environ.get("CCB_MODELS")
    try:
        begun = time.perf_counter()
        client = NotebookClient(jupytext.read(chapter), timeout=3600, kernel_name="python3")
        client.execute(cwd=str(chapter.parent))
        seconds = time.perf_counter() - begun
    finally:
        os.environ.pop("CCB_MODELS")
        if kept is not None:
            os.environ["CCB_MODELS"] = kept
    return [{"what": "chapter", "unit": "s", "path": chapter.stem, "median": round(seconds, 1), "clock": "wall time"}]


# ── what to measure ───────────────────────────────────────────────────────────────────────────────────────────────


def grid(
    *,
    methods: Sequence[str] = PAPER_METHODS,
    image_sizes: Sequence[int] = (32, 64, 128),
    batches: Sequence[int] = (16, 64, 256),
    chains: Sequence[tuple[int, ...]] = ((0, 0, 0, 0), (4, 3, 2, 1), (8, 6, 4, 2), (16, 12, 8, 4), (32, 24, 16, 8)),
    detectors: Sequence[int] = (1, 2, 5, 10),
    width: int | None = None,
) -> list[Cell]:
    """List what is worth measuring: each method at 32 px, then CCB along one axis at a time, each cell once."""
    own = Cell(width=width)
    cells = [replace(own, method=method, detectors=n) for method in methods for n in sorted({1, max(detectors)})]
    if "ccb" in methods:
        cells += [replace(own, image_size=size) for size in image_sizes]
        cells += [replace(own, batch=batch) for batch in batches]
        cells += [replace(own, chain=tuple(chain)) for chain in chains if tuple(chain) != (4, 3, 2, 1)]
        cells += [replace(own, detectors=count) for count in detectors]
    return list(dict.fromkeys(cells))
