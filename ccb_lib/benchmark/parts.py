"""Further measurements of `ccb bench`: threads, loading, operations, kernels."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ccb_lib.benchmark.cells import Cell
from ccb_lib.benchmark.measure import Row, Trainer, spread
from ccb_lib.training.bfloat16 import BFloat16Weights


def measure_threads(
    cell: Cell, *, counts: Sequence[int] = (1, 2), steps: int = 2, repeats: int = 5
) -> list[Row]:
    """Measure a fast step on a CPU with several numbers of threads, in wall time.

    Args:
        cell: The setting.
        counts: Numbers of threads.
        steps: Steps per repetition.
        repeats: Repetitions per block. Each number of threads has three blocks, alternately.

    Returns:
        One row per number of threads. ``best`` is the fastest repetition, on which other load on
        the machine had the least effect.
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
            "what": "threads", "unit": "ms", **asdict(cell),
            "path": f"{count} thread{'s' * (count > 1)}",
            **spread([1e3 * s / (steps * cell.detectors) for s in taken]),
            "best": float(f"{1e3 * min(taken) / (steps * cell.detectors):.4g}"),
            "steps": steps, "repeats": 3 * repeats, "clock": "wall time",
        }
        for count, taken in seconds.items()
    ]  # fmt: skip


def measure_load(root: Path) -> list[Row]:
    """Measure the seconds to load CIFAR-10: cold decodes its files, warm reads the cache.

    Args:
        root: The folder with ``cifar10`` as class folders, or with the official batches.

    Returns:
        Two rows. Cold means that no decoded images were cached; the operating system may still
        have the files in memory.
    """
    from ccb_lib.datasets import cifar10

    begun, rows = time.perf_counter, []
    with tempfile.TemporaryDirectory() as folder:
        source = next(
            path for path in (root / "cifar10", root / "cifar-10-batches-py") if path.is_dir()
        )
        target = Path(folder) / source.name
        target.mkdir()
        for entry in source.iterdir():
            if not entry.name.startswith("."):
                (target / entry.name).symlink_to(
                    entry.resolve(), target_is_directory=entry.is_dir()
                )
        for which in ("cold", "warm"):
            start = begun()
            cifar10.load(abnormal="airplane", root=folder)
            rows.append(
                {"what": "load", "unit": "s", "path": which, "median": round(begun() - start, 3)}
            )
    return rows


def lower_bound(
    cell: Cell, *, bandwidth: float = 3.35e12, arithmetic: float = 989e12
) -> dict[str, float]:
    """Compute lower bounds on the time of a training step: its products, and Adam's memory traffic.

    Args:
        cell: The setting. Its networks are built and take one step with two images.
        bandwidth: Memory bandwidth in bytes per second.
        arithmetic: Operations per second in bfloat16. Both defaults are those of an H100 (SXM) in
            its data sheet.

    Returns:
        ``parameters``; ``operations``, the multiplications and additions of a step; ``bytes`` that
        Adam moves, 28 per parameter (in float32 it reads weight, gradient and two moments, and
        writes all but the gradient); and the milliseconds of each at full speed.
    """
    detector = replace(cell, batch=2).detector("cpu", False)
    for network in detector.networks_.values():
        network.train()
    x = torch.rand(2, cell.channels, cell.image_size, cell.image_size)
    with FlopCounterMode(display=False) as counter:
        detector.training_step(x)
    operations = counter.get_total_flops() * cell.batch / 2
    count = sum(
        p.numel() for name in detector.optimizers_ for p in detector.networks_[name].parameters()
    )
    return {
        "parameters": count,
        "operations": operations,
        "bytes": 28 * count,
        "ms for operations": 1e3 * operations / arithmetic,
        "ms for Adam": 1e3 * 28 * count / bandwidth,
    }


def profile(
    cell: Cell, *, device: str = "auto", path: str = "fast", steps: int = 10, top: int = 20
) -> list[Row]:
    """List the kernels (on CUDA) or operators (on a CPU) that take most of a step's time.

    Args:
        cell: The setting.
        device: As in `Detector`.
        path: One of `PATHS`.
        steps: Number of profiled steps.
        top: Number of kernels to list.

    Returns:
        One row per kernel, the slowest first: ``name``, ``calls`` and ``ms`` per step of one
        detector, ``share`` of the total time; the last row is the sum of all others.
    """
    trainer = Trainer(cell, path, device)
    trainer(5)
    cuda = trainer.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(
        activities=[activity.CPU, activity.CUDA] if cuda else [activity.CPU]
    ) as watched:
        trainer(steps)
        if cuda:
            torch.cuda.synchronize()
    events = [
        event
        for event in watched.key_averages()
        if (str(event.device_type).endswith("CUDA")) == cuda
    ]
    found = [
        (e.key, e.count, (e.self_device_time_total if cuda else e.self_cpu_time_total) / 1e3)
        for e in events
    ]
    found = sorted((event for event in found if event[2] > 0), key=lambda event: -event[2])
    total = sum(ms for _, _, ms in found)
    rest = found[top:]
    named = [
        *found[:top],
        *([("all others", sum(n for _, n, _ in rest), sum(ms for *_, ms in rest))] if rest else []),
    ]
    taken = steps * cell.detectors
    return [
        {
            "name": name,
            "calls": count / taken,
            "ms": float(f"{ms / taken:.3g}"),
            "share": round(ms / total, 4),
        }
        for name, count, ms in named
    ]


class _Operations(TorchDispatchMode):
    """Counts the operations sent to a device, without views and allocations."""

    _NO_WORK = re.compile(
        r"aten\.(_?unsafe_view|view|_reshape_alias|t\.|expand|detach|alias|as_strided|empty|slice|select\.|"
        r"squeeze|unsqueeze|permute|transpose|split|_local_scalar_dense)|profiler\."
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if not self._NO_WORK.match(str(function)):
            self.found[str(function).removeprefix("aten.")] += 1
        return function(*args, **(kwargs or {}))


def count_operations(method: str) -> list[Row]:
    """Count the operations of a training step; on a GPU the number of kernels is similar.

    The count does not depend on sizes or on the machine. Three ways are counted: plain PyTorch;
    bfloat16 by PyTorch's autocast only; and the fast path, which casts all weights of a network in
    one operation.

    Returns:
        One row per way: ``median``, the count, and ``most``, the ten most frequent operations with
        their counts.
    """
    rows = []
    for way in ("eager", "fast, autocast alone", "fast"):
        detector = Cell(method=method, width=4, batch=4).detector("cpu", way != "eager")
        for network in detector.networks_.values():
            network.train()
        for optimizer in detector.optimizers_.values() if way == "eager" else ():
            optimizer.param_groups[0]["foreach"] = True  # PyTorch's default on a GPU
        learning = detector.networks_
        if way == "fast":
            halved = {name: BFloat16Weights(learning[name]) for name in detector.optimizers_}
            detector.networks_ = {**learning, **halved}
        x = torch.zeros(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=way != "eager", cache_enabled=False):
            detector.training_step(x)  # the first step also creates the optimisers' state
            with _Operations() as operations:
                detector.training_step(x)
        found = operations.found
        rows.append(
            {"what": "operations", "unit": "a step", "method": method, "path": way,
             "median": sum(found.values()), "most": dict(found.most_common(10))}
        )  # fmt: skip
    return rows
