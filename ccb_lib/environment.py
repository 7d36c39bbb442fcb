"""Device choice, seeded random numbers, worker processes, and facts about the machine."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import parent_process
from typing import Any

import torch


def choose_device(device: str) -> torch.device:
    """Return the device named by ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    ``"auto"`` is CUDA where PyTorch finds a GPU, else the CPU.

    Raises:
        ValueError: The name is no device, or this machine does not have it.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        # torch explains why a GPU cannot be used. For any other name it only lists all device types
        # that it was ever built for, so that text is left out.
        why = f" ({str(error).splitlines()[0]})" if str(device).startswith("cuda") else ""
        raise ValueError(
            f"device={device!r} cannot be used here{why}. Use auto, cpu, cuda or cuda:1."
        ) from error
    return chosen


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators inside the block and restore their states afterwards.

    Example:
        >>> with seeded(0, torch.device("cpu")):
        ...     torch.rand(1)
        tensor([0.4963])
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def end_with_parent() -> None:
    """End this worker process when the process that started it is gone, however that ended.

    Otherwise the workers of a killed process would train on, and then wait for work for ever.

    Example:
        >>> from concurrent.futures import ProcessPoolExecutor
        >>> pool = ProcessPoolExecutor(2, initializer=end_with_parent)
    """

    def watch(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, args=(parent_process(),), daemon=True).start()


def machine(gpu: torch.device | None = None) -> dict[str, str]:
    """Describe the machine: processor, threads, GPU and versions, one entry a table row.

    Args:
        gpu: The GPU to name; PyTorch's current one by default.

    Example:
        >>> "torch" in machine()
        True
    """
    packages = (
        "ccb-lib",
        "torch",
        "torchvision",
        "numpy",
        "scikit-learn",
        "matplotlib",
        "ipywidgets",
        "jupyter-book",
    )
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, "
        f"torch threads: {torch.get_num_threads()}",
        "GPU": torch.cuda.get_device_name(gpu) if torch.cuda.is_available() else "none",
        "Python": platform.python_version(),
    }
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts
