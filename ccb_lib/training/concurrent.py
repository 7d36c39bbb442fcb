"""Train several detectors at once on one GPU, each on its own CUDA stream.

On a CPU they train one after the other.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from ccb_lib.training.types import Returned, Turns, finish

if TYPE_CHECKING:
    from ccb_lib.detectors.base import Detector

_MAX_CONCURRENT = 16  # detectors; more do not raise GPU utilisation
_MEMORY_SHARE = 0.5  # of the free memory that one more detector may need; scoring needs memory too


def run_concurrently(
    starts: Sequence[Callable[[], Turns[Returned]]],
    device: torch.device,
    *,
    at_once: int | None = None,
) -> Iterator[tuple[int, Returned | Exception]]:
    """Run several jobs; on CUDA concurrently, each on its own stream, one step of each in turn.

    A small batch leaves most of a large GPU idle; steps on different streams use it together. A
    job that yields False is not independent (see `ccb_lib.training.loop.training`) and runs to its
    end before the next step of another job. On a CPU the jobs run one after the other.

    Args:
        starts: One function for each job; it starts the job and returns its generator of turns.
        device: The device of all jobs.
        at_once: The number of concurrent jobs. By default at most 16, and another job starts
            only while the free memory is at least twice the largest memory that a job has taken so
            far.

    Yields:
        At the end of each job, its index in ``starts`` and its result, or the exception that ended
        it. An exception does not stop the other jobs.
    """
    waiting = deque(enumerate(starts))
    running: deque[tuple[int, Turns[Returned], torch.cuda.Stream | None]] = deque()
    largest = 0  # bytes: the largest memory that one job took
    may_fit = True  # False once memory was too short, until a job ends and frees its memory
    while waiting or running:
        free = _free_memory(device) if waiting and may_fit and at_once is None else 0
        may_fit = not running or (may_fit and _another_fits(len(running), at_once, largest, free))
        starting = bool(waiting) and may_fit
        if starting:
            number, start = waiting.popleft()
            job = number, start(), _stream(device)
        else:
            job = running.popleft()
        number, turns, stream = job
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            ended, result = _take_turn(turns)
        if starting and at_once is None:
            largest = max(largest, free - _free_memory(device))
        if not ended:
            running.append(job)
            continue
        if stream is not None:
            stream.synchronize()
        may_fit = True
        yield number, result  # type: ignore[misc]


def _another_fits(running: int, at_once: int | None, largest: int, free: int) -> bool:
    if at_once is not None:
        return running < at_once
    return running < _MAX_CONCURRENT and largest < _MEMORY_SHARE * free


def _take_turn(turns: Turns[Returned]) -> tuple[bool, Returned | Exception | None]:
    """Take one turn of a job, or all its remaining turns if it is not independent.

    Returns:
        Whether the job ended, and its result or its exception.
    """
    try:
        return (False, None) if next(turns) else (True, finish(turns))
    except StopIteration as end:
        return True, end.value
    except Exception as error:
        return True, error


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """Make a CUDA stream that starts after all work launched before; ``None`` on a CPU."""
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def train_together(
    detectors: Sequence["Detector"],
    images: Sequence[Any],
    *,
    calibration: Sequence[Any] | None = None,
    false_alarms: float = 0.05,
    resume: Sequence[str | Path | None] | None = None,
    on_epoch_end: Callable[["Detector", int], dict[str, float] | None] | None = None,
    progress: bool = True,
    at_once: int | None = None,
) -> list["Detector"]:
    """Fit several detectors, concurrently on CUDA and one after the other on a CPU.

    Each detector is fitted as its own ``fit`` would fit it.

    Args:
        detectors: Distinct objects, all on one device.
        images: The training images of each detector, as in ``fit``.
        calibration: Held-out normal images for each detector, or ``None``.
        false_alarms: As in ``fit``.
        resume: A checkpoint file for each detector.
        on_epoch_end: Called with the detector and its epoch, as in ``fit``.
        progress: Show one progress bar over the epochs of all detectors.
        at_once: The number of concurrent detectors; see `run_concurrently` for the default.

    Returns:
        The detectors.

    Raises:
        ValueError: Lists of different lengths, the same detector twice, or several devices.
        Exception: The first exception of a detector, after all others have finished training.

    Example:
        >>> from ccb_lib import PixelPCA, load_dataset
        >>> images = load_dataset("digits", abnormal=8).train[:64]
        >>> pair = [PixelPCA(components=4), PixelPCA(components=8)]
        >>> [each.channels_ for each in train_together(pair, [images, images], progress=False)]
        [1, 1]
    """
    detectors, count = list(detectors), len(detectors)
    columns = {"images": images, "calibration": calibration, "resume": resume}
    columns = {
        name: [None] * count if given is None else list(given) for name, given in columns.items()
    }
    if unequal := {name: len(column) for name, column in columns.items() if len(column) != count}:
        raise ValueError(
            f"{count} detectors given, but {unequal}; give one of each for every detector."
        )
    if len({id(detector) for detector in detectors}) < count:
        raise ValueError("One detector was given twice; make a new one for each training.")
    devices = {detector.device_ for detector in detectors}
    if len(devices) > 1:
        raise ValueError(
            f"Detectors on {sorted(map(str, devices))} given; one device for all is needed."
        )
    epochs = [getattr(detector, "epochs", 0) for detector in detectors]
    errors: list[Exception] = []
    with tqdm(
        total=sum(epochs), desc=f"{count} detectors", unit=" epochs", disable=not progress
    ) as bar:

        def after_epoch(detector: "Detector", epoch: int) -> dict[str, float] | None:
            bar.update()
            return on_epoch_end(detector, epoch) if on_epoch_end else None

        def start(number: int) -> Turns["Detector"]:
            return detectors[number].fit_turns(
                columns["images"][number],
                calibration=columns["calibration"][number],
                resume=columns["resume"][number],
                false_alarms=false_alarms,
                on_epoch_end=after_epoch if epochs[number] else None,
                progress=False,
            )

        starts = [partial(start, number) for number in range(count)]
        for _, result in run_concurrently(
            starts, *devices or [torch.device("cpu")], at_once=at_once
        ):
            if isinstance(result, Exception):
                errors.append(result)
    if errors:
        errors[0].add_note(
            f"{len(errors)} of {count} detectors failed; the others finished training."
        )
        raise errors[0]
    return detectors
