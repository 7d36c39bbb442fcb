"""Following runs while they train: one line a minute, and a stop at a checkpoint when the time is up."""

import _thread
import signal
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

from ccb_lib.io.tensors import read_header
from ccb_lib.reproduction.runs import Run

GRACE = 60.0  # seconds past the end that an epoch under way may take
_STEPS = 200  # of the latest steps, whose median is the time of one


class TimeUp(Exception):  # noqa: N818  (it says what happened)
    """A run was stopped because the time is up; its checkpoint stays and the next call goes on from it."""


@dataclass
class Progress:
    """Where one run is.

    Attributes:
        run: Which.
        epochs: In all; 0 for methods that train without epochs.
        per_epoch: Steps of an epoch.
        epoch: Epochs done.
        step: Steps done of the epoch under way.
        seconds: Of the latest steps, each.
        scoring: Seconds between the last step of an epoch and the first of the next, that step taken off; ``None``
            until it was seen.
    """

    run: Run
    epochs: int
    per_epoch: int
    epoch: int = 0
    step: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS))
    scoring: float | None = None
    last: float | None = None

    @property
    def per_step(self) -> float:
        """The median of the latest steps, in seconds; 0 where none was timed."""
        return statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def next_epoch(self) -> float:
        """Seconds that a whole epoch needs, with the scoring after it."""
        return self.per_epoch * self.per_step + (self.scoring or 0.0)

    @property
    def left(self) -> float:
        """Seconds of training and of scoring between epochs that are left."""
        return max(0.0, (self.epochs - self.epoch) * self.next_epoch - self.step * self.per_step)

    def __str__(self) -> str:
        if self.epoch >= self.epochs:
            return f"{self.run}: trained, scoring"
        if self.step >= self.per_epoch:
            return f"{self.run}: epoch {self.epoch + 1} of {self.epochs}, scoring"
        where = f"{self.run}: epoch {self.epoch + 1} of {self.epochs}, step {self.step} of {self.per_epoch}"
        if not self.seconds:
            return where
        return f"{where}, {self.per_step:.3g} s/step, {duration(self.left)} of training left"


class Watch:
    """Told of every step and epoch; says where the runs are, and stops them when the time is up.

    A run is stopped at a checkpoint: after an epoch, if the next one would end more than `GRACE` seconds too late.
    What is then still at work, such as a long scoring, is interrupted `GRACE` seconds after the end. Inside the
    ``with`` block SIGTERM stops the work as Ctrl-C does, and `say` gets a line for each run at work from time to time.

    Args:
        hours: Until the time is up; ``None`` for no end.
        say: Takes a line.
        every: Seconds between two lines.
        clock: Seconds that only grow.

    Attributes:
        reason: Why runs were stopped, in words; ``None`` while there is time.

    Example:
        >>> watch = Watch(0)
        >>> watch.check()
        Traceback (most recent call last):
        ccb_lib.reproduction.watch.TimeUp: The time is up.
    """

    def __init__(
        self,
        hours: float | None = None,
        say: Callable[[str], Any] = print,
        *,
        every: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say, self.every, self.clock = say, every, clock
        self.end_at = None if hours is None else clock() + hours * 3600
        self.reason: str | None = None
        self.at_work: dict[str, Progress] = {}
        self._over = threading.Event()
        self._old_handler: Any = None
        self._thread = threading.Thread(target=self._tell, daemon=True)

    # ── what runs tell ────────────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise `TimeUp` where no run may begin any more."""
        if self.reason is None and self.end_at is not None and self.clock() >= self.end_at:
            self.reason = "The time is up."
        if self.reason is not None:
            raise TimeUp(self.reason)

    def begin(self, run: Run, images: int, detector: Any, checkpoint: Path | None) -> None:
        """Note a run that begins, or goes on from its checkpoint, on so many training images."""
        epochs = getattr(detector, "epochs", 0)
        done = len(read_header(checkpoint).get("history", [])) if checkpoint is not None else 0
        per_epoch = images // min(images, detector.batch_size) if epochs else 0
        self.at_work[run.key] = Progress(run, epochs, per_epoch, done)
        self.say(f"{run}: {f'goes on after epoch {done} of {epochs}' if done else 'begins'}")

    def after_step(self, run: Run) -> None:
        """Note a step.

        Raises:
            TimeUp: There is no time for the epoch that has just begun.
        """
        now, progress = self.clock(), self.at_work[run.key]
        if progress.last is not None:  # the first step warms up
            taken = now - progress.last
            if progress.step:
                progress.seconds.append(taken)
            else:
                progress.scoring = max(0.0, taken - progress.per_step)
        first = progress.step == 0
        progress.step += 1
        progress.last = now
        if self.end_at is None:
            return
        if first and now + progress.next_epoch - progress.per_step > self.end_at + GRACE:
            needed, left = duration(progress.next_epoch), duration(max(0.0, self.end_at - now))
            self.reason = f"Stopped after epoch {progress.epoch} of {run}: the next needs {needed}, {left} are left."
        elif now > self.end_at + GRACE:
            self.reason = f"The time was up within epoch {progress.epoch + 1} of {run}, which will be repeated."
        else:
            return
        raise TimeUp(self.reason)

    def after_epoch(self, run: Run, epoch: int) -> None:
        """Note an epoch that is done, from 1; its checkpoint is written next."""
        progress = self.at_work[run.key]
        progress.epoch, progress.step = epoch, 0

    def end(self, run: Run, how: str) -> None:
        """Note that a run ended, and how, in a word."""
        self.at_work.pop(run.key, None)
        self.say(f"{run}: {how}")

    # ── the minute's line, the end ────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, _stop)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> bool:
        self._over.set()
        self._thread.join()
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
        return (
            kind is KeyboardInterrupt and self.reason is not None
        )  # its own interrupt, not the user's

    def _tell(self) -> None:
        told = self.clock()
        while True:
            now = self.clock()
            waits = [told + self.every - now] + (
                [] if self.end_at is None else [self.end_at + GRACE - now]
            )
            if self._over.wait(max(0.0, min(waits))):
                return
            now = self.clock()
            if now - told >= self.every:
                told = now
                for progress in list(self.at_work.values()):
                    self.say(str(progress))
            if self.end_at is not None and now > self.end_at + GRACE:
                self.reason = (
                    self.reason
                    or "The time was up while a run was at work; it goes on from its checkpoint."
                )
                _thread.interrupt_main(
                    signal.SIGTERM
                )  # SIGINT may be ignored where a shell started this behind it
                return


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
