"""Feeds inputs to readers of the library in forked workers, and judges how each attempt ends.

A worker has a memory limit, an alarm and an audit hook. An attempt passes if it ends with a result
or with an error of the library's own that names the file or the argument. It fails if it raises
another error, takes more than 10 seconds or 2 GB, writes outside its folder, or runs code. Seconds
are those of the processor, so that other programs on the machine cannot make an attempt fail; an
attempt that waits for 10 seconds without working fails too.
"""

import mmap
import multiprocessing
import os
import shutil
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tests.torture.inputs_judge import SECONDS, Failure, Hang, Kind, generator, judge, write_files
from tests.torture.inputs_watch import Alarm, Watch, contents, limit_memory, peak_memory

MEMORY = 2 * 2**30  # bytes, the largest resident size of a worker
_KILL = 100  # seconds after which a worker that does not react to its alarms is killed
_STATE = struct.Struct("qdqq")  # input, start of the attempt, results, refusals
_SENTINELS = ("sentinel.txt", "beside/secret.txt")


# ── the worker ────────────────────────────────────────────────────────────────────────────────────


def _work(*args: Any) -> None:
    """Attempt inputs; an error outside a reader ends the worker and is sent as its last message."""
    try:
        _attempt(*args)
    except BaseException:
        args[-2].send(traceback.format_exc().encode())
        raise


def _attempt(kind: Kind, seeds: Any, seed: int, numbers: range, state: mmap.mmap, pipe: Any,
          folder: Path) -> None:  # fmt: skip
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    with open(os.devnull, "w") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    target = folder / "target"
    for name in _SENTINELS:
        write_files(folder, {name: b"untouched"})
    target.mkdir()
    os.environ.update(XDG_CACHE_HOME=str(target / "cache"), TMPDIR=str(target), HOME=str(target))
    os.chdir(target)
    watch, before = Watch(target), contents(folder)
    sys.addaudithook(watch)
    limit_memory()
    results = refused = 0
    for number in numbers:
        try:
            given = kind.mutate(generator(seed, kind, number), seeds)
            write_files(target, given.files)
        except Exception:
            pipe.send(f"input {number} cannot be made:\n{traceback.format_exc()}")
            raise
        peak_memory(reset=True)
        began, worked = time.monotonic(), time.process_time()
        state[:] = _STATE.pack(number, began, results, refused)
        watch.on = True
        try:
            with Alarm():
                how, why = judge(kind, given, target)
        except Hang:  # it rang between two statements
            how, why = "hangs", f"more than {SECONDS} s"
        watch.on = False
        peak = peak_memory()
        if watch.noted:
            how, why = "lost", "; ".join(watch.noted[:3])
            watch.noted.clear()
        elif (after := contents(folder)) != before:
            how, why = "lost", f"changed {sorted(set(after.items()) ^ set(before.items()))[:3]}"
            before = after
        elif peak > MEMORY:
            how, why = "lost", f"{peak / 2**20:.0f} MiB of memory"
        results, refused = results + (how == "result"), refused + (how == "refused")
        state[:] = _STATE.pack(number + 1, 0.0, results, refused)
        if how not in ("result", "refused"):
            pipe.send(Failure(number, how, why))
        pipe.send((number, time.process_time() - worked, peak))
        for path in target.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    pipe.send(None)


# ── the parent ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Tally:
    """The outcome of all inputs of one kind.

    Attributes:
        results, refused: Counts of the attempts that passed.
        failures: What failed.
        slowest: The longest attempt, in processor seconds, and its number.
        largest: The largest resident size of a worker, in bytes, and the number of that input.
    """

    results: int = 0
    refused: int = 0
    failures: list[Failure] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)

    @property
    def tried(self) -> int:
        """Return the number of attempts."""
        return self.results + self.refused + len(self.failures)


class _Slot:
    """A worker on a range of inputs of one kind; replaced when it dies or hangs."""

    def __init__(self, kind: Kind, seeds: Any, seed: int, numbers: range, folder: Path) -> None:
        self.kind, self.numbers, self.folder = kind, numbers, folder
        self._seeds, self._seed = seeds, seed
        self._start(numbers)

    def _start(self, numbers: range) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._last_message = "without a message"
        self._state = mmap.mmap(-1, _STATE.size)
        self._state[:] = _STATE.pack(numbers.start, 0.0, 0, 0)
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work,
            args=(self.kind, self._seeds, self._seed, numbers, self._state, theirs, self.folder),
        )
        self._process.start()
        theirs.close()

    def look(self, tally: Tally) -> bool:
        """Take the messages of the worker; return whether all its inputs are done."""
        try:
            while self.pipe.poll():
                message = self.pipe.recv()
                if message is None:
                    self._close(tally)
                    return True
                if isinstance(message, str):
                    raise RuntimeError(message)  # a defect of this harness
                if isinstance(message, bytes):
                    self._last_message = message.decode()[-800:]
                elif isinstance(message, Failure):
                    tally.failures.append(message)
                else:
                    number, seconds, peak = message
                    tally.slowest = max(tally.slowest, (seconds, number))
                    tally.largest = max(tally.largest, (peak, number))
        except EOFError:
            self._process.join()
            return self._after_death(tally, "lost", f"worker died: {self._last_message}")
        number, began, *_ = _STATE.unpack(self._state[:])
        if began and time.monotonic() - began > _KILL:
            self._process.kill()
            self._process.join()
            return self._after_death(tally, "hangs", f"no reaction for {_KILL} s")
        return False

    def _after_death(self, tally: Tally, how: str, why: str) -> bool:
        number = self._close(tally)
        tally.failures.append(Failure(number, how, why))
        if number + 1 < self.numbers.stop:
            self._start(range(number + 1, self.numbers.stop))
            return False
        return True

    def _close(self, tally: Tally) -> int:
        self.pipe.close()
        self._process.join()
        number, _, results, refused = _STATE.unpack(self._state[:])
        tally.results, tally.refused = tally.results + results, tally.refused + refused
        shutil.rmtree(self.folder, ignore_errors=True)
        return number


def attempt(
    kinds: Iterable[Kind], count: int, seed: int, folder: Path, jobs: int = 2, batch: int = 500,
    first: int = 0, say: Callable[[str], object] = print,
) -> dict[str, Tally]:  # fmt: skip
    """Feed ``count`` inputs of each kind to its reader, in ``jobs`` workers at a time.

    Args:
        kinds: The kinds.
        count: Number of inputs of each kind.
        seed: Seed of the inputs.
        folder: An empty folder for the workers.
        jobs: Number of workers.
        batch: Number of inputs of one worker.
        first: Number of the first input.
        say: Called with a line for each kind that is done, and with one for each failure.

    Returns:
        The outcome by area.
    """
    tallies: dict[str, Tally] = {}
    for kind in kinds:
        began, tally = time.monotonic(), Tally()
        seeds = kind.prepare(folder / "prepared")
        ranges = [
            range(start, min(start + batch, first + count))
            for start in range(first, first + count, batch)
        ]
        running: list[_Slot] = []
        made = 0
        while ranges or running:
            while ranges and len(running) < jobs:
                made += 1
                running.append(_Slot(kind, seeds, seed, ranges.pop(0), folder / f"worker{made}"))
            wait([slot.pipe for slot in running], timeout=1.0)
            running = [slot for slot in running if not slot.look(tally)]
        shutil.rmtree(folder / "prepared", ignore_errors=True)
        tallies[kind.area] = tally
        say(
            f"{kind.area}: {tally.tried} tried, {tally.results} results, {tally.refused} refused, "
            f"{len(tally.failures)} failed; {time.monotonic() - began:.0f} s, slowest "
            f"{tally.slowest[0]:.2f} s, at most {tally.largest[0] / 2**20:.0f} MiB"
        )
        for failure in sorted(tally.failures, key=lambda failure: failure.number):
            say(f"  {kind.area} {failure.number}: {failure.how}: {failure.why}")
    return tallies
