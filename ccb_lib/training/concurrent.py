"""Several detectors trained at once on one GPU, each on a CUDA stream of its own; in turn on a CPU."""

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

_AT_MOST = 16  # detectors side by side; more leave a GPU no idler
_SHARE = 0.5  # of the free memory that another detector may take; scoring needs some as well


def run_concurrently(
    starts: Sequence[Callable[[], Turns[Returned]]], device: torch.device, *, at_once: int | None = None
) -> Iterator[tuple[int, Returned | Exception]]:
    """Do pieces of work, on CUDA several at a time, each on a stream of its own, a step of each in turn.

    A small batch leaves most of a large GPU idle; steps on different streams fill it together. Work that says it is
    not independent (see `ccb_lib.training.loop.training`), and all work on a CPU, is done alone.

    Args:
        starts: Begin a piece of work each.
        device: Of all of them.
        at_once: How many at a time; by default as many as memory allows, but no more than 16: another begins while
            the free memory is twice what the largest so far took.

    Yields:
        As each piece ends, its number and its result, or the exception that ended it; the others go on.
    """
    waiting = deque(enumerate(starts))
    running: deque[tuple[int, Turns[Returned], torch.cuda.Stream | None]] = deque()
    most, room = 0, True  # the most memory that one of them took; whether there may be room for another
    while waiting or running:
        free = _free_memory(device) if waiting and room and at_once is None else 0
        room = not running or (room and _another_fits(len(running), at_once, most, free))
        starting = bool(waiting) and room
        if starting:
            number, start = waiting.popleft()
            lane = number, start(), _stream(device)
        else:
            lane = running.popleft()
        number, turns, stream = lane
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            ended, result = _turn(turns)
        if starting and at_once is None:
            most = max(most, free - _free_memory(device))
        if not ended:
            running.append(lane)
            continue
        if stream is not None:
            stream.synchronize()
        room = True
        yield number, result  # type: ignore[misc]


def _another_fits(running: int, at_once: int | None, most: int, free: int) -> bool:
    if at_once is not None:
        return running < at_once
    return running < _AT_MOST and most < _SHARE * free


def _turn(turns: Turns[Returned]) -> tuple[bool, Returned | Exception | None]:
    """Take one turn, or all that are left where others may not come in between; say whether it ended, and how."""
    try:
        return (False, None) if next(turns) else (True, finish(turns))
    except StopIteration as end:
        return True, end.value
    except Exception as error:
        return True, error


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """Make a CUDA stream that begins after what was launched before; none on a CPU."""
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
    """Fit several detectors, on CUDA side by side, on a CPU one after the other; each as it would be fitted alone.

    Args:
        detectors: Different objects, on one device.
        images: What each learns from, as in ``fit``.
        calibration: Held-out normal images of each, or none at all.
        false_alarms: As in ``fit``.
        resume: A checkpoint file for each.
        on_epoch_end: Called with the detector and its epoch, as in ``fit``.
        progress: Show one bar over the epochs of all.
        at_once: How many train at a time; by default as many as memory allows.

    Returns:
        The detectors.

    Raises:
        ValueError: Lists of different lengths, the same detector twice, or several devices.
        Exception: What ended the first detector that failed, after the others were trained to their end.
    """
    detectors, count = list(detectors), len(detectors)
    columns = {"images": images, "calibration": calibration, "resume": resume}
    columns = {name: [None] * count if given is None else list(given) for name, given in columns.items()}
    if unequal := {name: len(column) for name, column in columns.items() if len(column) != count}:
        raise ValueError(f"{count} detectors given, but {unequal}; give one of each for every detector.")
    if len({id(detector) for detector in detectors}) < count:
        raise ValueError("One detector was given twice; make a new one for each training.")
    devices = {detector.device_ for detector in detectors}
    if len(devices) > 1:
        raise ValueError(f"Detectors on {sorted(map(str, devices))} given; one device for all is needed.")
    epochs = [getattr(detector, "epochs", 0) for detector in detectors]
    failed: list[Exception] = []
    with tqdm(total=sum(epochs), desc=f"{count} detectors", unit=" epochs", disable=not progress) as bar:

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
        for _, result in run_concurrently(starts, *devices or [torch.device("cpu")], at_once=at_once):
            if isinstance(result, Exception):
                failed.append(result)
    if failed:
        failed[0].add_note(f"{len(failed)} of {count} detectors failed; the others were trained to their end.")
        raise failed[0]
    return detectors
