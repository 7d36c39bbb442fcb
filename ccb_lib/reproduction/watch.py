"""Progress of runs while they train, and their stop at a checkpoint when the time is up."""

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

GRACE = 60.0  # seconds after the end that the current epoch may still take
_STEPS = 200  # the median of so many latest steps is the time of one step


class TimeUp(Exception):  # noqa: N818  (a stop, not an error)
    """A run was stopped because the time is up; the next call resumes from its checkpoint."""


@dataclass
class Progress:
    """The progress of one run.

    Attributes:
        run: The run.
        epochs: Total number of epochs; 0 for methods that train without epochs.
        per_epoch: Steps per epoch.
        epoch: Epochs done.
        step: Steps done in the current epoch.
        seconds: Seconds of each of the latest steps.
        scoring: Seconds between the last step of an epoch and the first step of the next, without
            that step; ``None`` before the second epoch.
        last: Time of the latest step; ``None`` before the first.
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
        """The median of the latest steps, in seconds; 0 before the first measurement."""
        return statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def next_epoch(self) -> float:
        """Estimated seconds of a complete epoch with the scoring after it."""
        return self.per_epoch * self.per_step + (self.scoring or 0.0)

    @property
    def left(self) -> float:
        """Estimated remaining seconds of training and of scoring between epochs."""
        return max(0.0, (self.epochs - self.epoch) * self.next_epoch - self.step * self.per_step)

    def __str__(self) -> str:
        if self.epoch >= self.epochs:
            return f"{self.run}: trained, scoring"
        epoch = f"{self.run}: epoch {self.epoch + 1} of {self.epochs}"
        if self.step >= self.per_epoch:
            return f"{epoch}, scoring"
        where = f"{epoch}, step {self.step} of {self.per_epoch}"
        if not self.seconds:
            return where
        return f"{where}, {self.per_step:.3g} s/step, {duration(self.left)} of training left"


class Watch:
    """Reports the progress of runs, and stops them when the time is up.

    A run is stopped after an epoch if the next epoch would end more than `GRACE` seconds after the
    end. Work that still runs `GRACE` seconds after the end, such as a long scoring, is
    interrupted. Inside the ``with`` block SIGTERM stops the work as Ctrl-C does, and `say` is
    called regularly with one line per active run.

    Args:
        hours: Hours until the time is up; ``None`` for no limit.
        say: Called with a line of text.
        every: Seconds between two reports.
        clock: A monotonic clock, in seconds.

    Attributes:
        reason: Why runs were stopped; ``None`` while there is time.
        at_work: Progress of the active runs, by key.

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
        self._over, self._sent = threading.Event(), False
        self._old_handler: Any = None
        self._thread = threading.Thread(target=self._report, daemon=True)

    # ── called by runs ───────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        """Raise `TimeUp` if no further run may begin."""
        if self.reason is None and self.end_at is not None and self.clock() >= self.end_at:
            self.reason = "The time is up."
        if self.reason is not None:
            raise TimeUp(self.reason)

    def begin(self, run: Run, images: int, detector: Any, checkpoint: Path | None) -> None:
        """Record a run that begins, or resumes from its checkpoint.

        Args:
            run: The run.
            images: Number of its training images.
            detector: Its detector.
            checkpoint: The checkpoint's path; ``None`` without checkpoints.
        """
        epochs = getattr(detector, "epochs", 0)
        done = len(read_header(checkpoint).get("history", [])) if checkpoint is not None else 0
        per_epoch = images // min(images, detector.batch_size) if epochs else 0
        self.at_work[run.key] = Progress(run, epochs, per_epoch, done)
        self.say(f"{run}: {f'resumes after epoch {done} of {epochs}' if done else 'begins'}")

    def after_step(self, run: Run) -> None:
        """Record a step.

        Raises:
            TimeUp: There is not enough time for the current epoch.
        """
        now, progress = self.clock(), self.at_work[run.key]
        if progress.last is not None:  # the first step is slower and is not counted
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
            self.reason = (
                f"Stopped after epoch {progress.epoch} of {run}: the next needs {needed}, "
                f"{left} are left."
            )
        elif now > self.end_at + GRACE:
            self.reason = (
                f"The time was up within epoch {progress.epoch + 1} of {run}, which will be "
                "repeated."
            )
        else:
            return
        raise TimeUp(self.reason)

    def after_epoch(self, run: Run, epoch: int) -> None:
        """Record the end of an epoch, counted from 1; its checkpoint is written afterwards."""
        progress = self.at_work[run.key]
        progress.epoch, progress.step = epoch, 0

    def end(self, run: Run, how: str) -> None:
        """Record the end of a run, and report how it ended."""
        self.at_work.pop(run.key, None)
        self.say(f"{run}: {how}")

    # ── reports and end ──────────────────────────────────────────────────────────────────────────

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
        # Suppress the interrupt that `_report` sent, but not the user's.
        return kind is KeyboardInterrupt and self._sent

    def _report(self) -> None:
        last = self.clock()
        while True:
            now = self.clock()
            waits = [last + self.every - now] + (
                [] if self.end_at is None else [self.end_at + GRACE - now]
            )
            if self._over.wait(max(0.0, min(waits))):
                return
            now = self.clock()
            if now - last >= self.every:
                last = now
                for progress in list(self.at_work.values()):
                    self.say(str(progress))
            if self.end_at is not None and now > self.end_at + GRACE:
                self.reason = self.reason or (
                    "The time was up during a run; the next call resumes it from its checkpoint."
                )
                self._sent = True
                # Not SIGINT: shells start background jobs with SIGINT ignored.
                _thread.interrupt_main(signal.SIGTERM)
                return


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def duration(seconds: float) -> str:
    """Format a time in seconds, minutes or hours.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
