"""What is done to a child process before its command: limits, other users, replaced functions.

Each function here returns a function without arguments for ``prepare`` of `Child`.
"""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

Prepare = Callable[[], None]
NOBODY = 65534
UNREADABLE = 99  # exit status of a child whose user cannot read the library
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of "
    "which 1.00 GiB is free."
)


def counting_writes(path: Path) -> Prepare:
    """Write one character to a file for each file that the child puts into place."""

    def prepare() -> None:
        original = os.replace

        def replace(*given: object, **named: object) -> None:
            original(*given, **named)  # type: ignore[arg-type]
            with path.open("a", encoding="utf-8") as file:
                file.write("x")

        os.replace = replace  # type: ignore[assignment]
        path.write_text("", encoding="utf-8")

    return prepare


def killed_in_write(number: int) -> Prepare:
    """Kill the child when it has written the file of this number, from 1, but not yet renamed."""

    def prepare() -> None:
        original = os.replace
        done = 0

        def replace(*given: object, **named: object) -> None:
            nonlocal done
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
            original(*given, **named)  # type: ignore[arg-type]

        os.replace = replace  # type: ignore[assignment]

    return prepare


def no_file_above(size: int) -> Prepare:
    """Let no file of the child grow beyond ``size`` bytes."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def with_user_cache(folder: Path) -> Prepare:
    """Use this folder as the user's cache folder."""

    def prepare() -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder)

    return prepare


def as_ordinary_user(cache: Path) -> Prepare:
    """Give up the rights of root, and use this folder as the user's cache folder."""

    def prepare() -> None:
        os.environ["XDG_CACHE_HOME"] = str(cache)
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        if not os.access(__file__, os.R_OK):
            os._exit(UNREADABLE)

    return prepare


def out_of_gpu_memory(number: int) -> Prepare:
    """Raise PyTorch's error for a full GPU in the convolution of this number, from 1."""

    def prepare() -> None:
        import torch

        done = 0
        original = torch.nn.Conv2d.forward

        def forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
            nonlocal done
            done += 1
            if done >= number:
                raise torch.OutOfMemoryError(OUT_OF_MEMORY)
            return original(self, x)

        torch.nn.Conv2d.forward = forward  # type: ignore[method-assign]

    return prepare


def jumping_clock(seed: int) -> Prepare:
    """Let the clocks jump at random readings.

    The time of day jumps by up to a year in both directions, as a corrected clock does. Clocks that
    measure durations jump forward by up to an hour, as they do on some systems after sleep.
    """

    def prepare() -> None:
        rng = random.Random(seed)
        offsets = {"time": 0.0, "monotonic": 0.0, "perf_counter": 0.0}

        def jumping(name: str) -> Callable[[], float]:
            original = getattr(time, name)

            def read() -> float:
                if rng.random() < 0.1:
                    year = 365 * 24 * 3600.0
                    jump = rng.uniform(-year, year) if name == "time" else rng.uniform(0, 3600)
                    offsets[name] = jump if name == "time" else offsets[name] + jump
                return original() + offsets[name]

            return read

        for name in offsets:
            setattr(time, name, jumping(name))

    return prepare


def shift_file_times(folder: Path, seed: int) -> None:
    """Move the times of all files in a folder by up to a year, all by the same amount."""
    year = 365 * 24 * 3600
    shift = random.Random(seed).uniform(-year, year)
    for path in [*folder.rglob("*")]:
        if not path.is_symlink():
            found = path.stat()
            os.utime(path, (found.st_atime + shift, found.st_mtime + shift))
