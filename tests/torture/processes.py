"""Commands of ``ccb`` in child processes that can be killed, limited and patched.

Importing PyTorch takes seconds, so a child is forked from a process that has imported everything,
and calls the command in the child. With ``fresh`` it starts a new Python instead.
"""

import importlib
import os
import pkgutil
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT = 600.0  # seconds after which a process counts as hanging; on a busy machine it takes long
_LOOK_EVERY = 0.004  # seconds


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: The exit status; the negative number of the signal that ended it.
        output, errors: What it wrote to stdout and stderr.
        hung: Whether it had to be killed because it did not end.
        left: Whether processes that it started were still running after it.
    """

    status: int
    output: str
    errors: str
    hung: bool = False
    left: bool = False

    @property
    def text(self) -> str:
        """Everything that it wrote."""
        return self.output + self.errors


class Child:
    """A running command, in a process group of its own.

    Args:
        words: The arguments of ``ccb``.
        prepare: Called in the child before the command; sets limits or replaces functions.
        fresh: Start a new Python with ``-m ccb_lib`` rather than call the command in the fork.
        call: Called instead of the command.
    """

    def __init__(
        self,
        words: Sequence[object] = (),
        *,
        prepare: Callable[[], None] = nothing,
        fresh: bool = False,
        call: Callable[[], None] | None = None,
    ) -> None:
        out, err = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _in_child([str(word) for word in words], out[1], err[1], prepare, fresh, call)
        with suppress(OSError):  # the child does the same; whoever is first
            os.setpgid(self.pid, self.pid)
        self.begun = time.monotonic()
        self._status: int | None = None
        self._hung = False
        self._text = {out[0]: b"", err[0]: b""}
        self._files = selectors.DefaultSelector()
        for reading, writing in (out, err):
            os.close(writing)
            os.set_blocking(reading, False)
            self._files.register(reading, selectors.EVENT_READ)

    def running(self) -> bool:
        """Read what was written, and return whether the process still runs."""
        for key, _ in self._files.select(0):
            with suppress(BlockingIOError):
                self._text[key.fd] += os.read(key.fd, 1 << 20)
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def until(self, condition: Callable[[], bool], limit: float | None = None) -> bool:
        """Wait until the condition holds; return whether the process still runs then."""
        end = time.monotonic() + (LIMIT if limit is None else limit)
        while self.running():
            if condition():
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_EVERY)
        return False

    def after(self, seconds: float) -> bool:
        """Wait for some seconds; return whether the process still runs then."""
        end = time.monotonic() + seconds
        return self.until(lambda: time.monotonic() >= end)

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.begun

    def imports_torch(self) -> bool:
        """Return whether the process has begun to import PyTorch, which every command does."""
        process = Path(f"/proc/{self.pid}")
        try:
            # Before it starts a new Python, the fork has the PyTorch of the process it came from.
            new = b"\0ccb_lib\0" in (process / "cmdline").read_bytes()
            return new and "libtorch" in (process / "maps").read_text(encoding="utf-8")
        except OSError:  # no /proc on this system
            return self.seconds() > 1

    def send(self, signum: int, *, alone: bool = False) -> None:
        """Send a signal to all processes of the group, or to the first one alone."""
        with suppress(ProcessLookupError):
            (os.kill if alone else os.killpg)(self.pid, signum)

    def wait(self, limit: float | None = None) -> Ended:
        """Wait for the end; kill the process if it does not come."""
        self.until(lambda: False, limit)
        if self.running():
            self._hung = True
            self.send(signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        left = _group_runs(self.pid)
        self.send(signal.SIGKILL)
        self.running()
        texts = [text.decode(errors="replace") for text in self._text.values()]
        for reading in self._text:
            self._files.unregister(reading)
            os.close(reading)
        assert self._status is not None
        return Ended(self._status, texts[0], texts[1], self._hung, left)


def run(words: Sequence[object], **given: object) -> Ended:
    """Run a command to its end; arguments are those of `Child`."""
    return Child(words, **given).wait()  # type: ignore[arg-type]


def empty(folder: Path) -> None:
    """Make an empty folder in place of whatever is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _group_runs(group: int) -> bool:
    """Return whether the group has processes; those that are ending have some time to do so."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def _in_child(
    words: list[str],
    out: int,
    err: int,
    prepare: Callable[[], None],
    fresh: bool,
    call: Callable[[], None] | None,
) -> None:
    """Run the command and end the process; nothing of the parent's code runs after it."""
    status = 1
    try:
        os.setpgid(0, 0)
        for number, into in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(number, into)
        sys.stdout, sys.stderr = (
            open(number, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
            for number in (1, 2)
        )
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        prepare()
        if fresh:
            os.execv(sys.executable, [sys.executable, "-m", "ccb_lib", *words])
        from ccb_lib.cli.group import main

        call() if call else main(words, prog_name="ccb")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def import_everything() -> None:
    """Import what the commands import, so that children need not.

    Raises:
        RuntimeError: The imports started threads, with which a process must not be forked.
    """
    import threading

    import pandas.io.formats.string  # noqa: F401
    import PIL.Image
    import sklearn.decomposition
    import sklearn.neighbors  # noqa: F401
    import torch
    import torch._dynamo

    import ccb_lib

    torch.set_num_threads(1)
    PIL.Image.init()
    for module in pkgutil.walk_packages(ccb_lib.__path__, "ccb_lib."):
        if "__main__" not in module.name and ".chapters" not in module.name:
            importlib.import_module(module.name)
    if threading.active_count() > 1:
        raise RuntimeError(f"Threads were started: {threading.enumerate()}.")
