"""The machine: which device to use, seeded random numbers, and facts about hardware and versions."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import torch


def choose_device(device: str) -> torch.device:
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` into a device.

    Raises:
        ValueError: No such device, or it is not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        # What torch says of a GPU tells why; of other words it lists all the devices that it was ever built for.
        why = f" ({str(error).splitlines()[0]})" if str(device).startswith("cuda") else ""
        raise ValueError(f"device={device!r} cannot be used here{why}. Use auto, cpu, cuda or cuda:1.") from error
    return chosen


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from ``seed`` inside the block and leave the global generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def machine() -> dict[str, str]:
    """Describe what runs this: processor, threads, GPU, versions; ready for a table."""
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
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "Python": platform.python_version(),
    }
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts
