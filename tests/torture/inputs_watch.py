"""The limits of a worker: an alarm, a memory limit, and an audit hook for writes and programs."""

import os
import re
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.torture.inputs_judge import SECONDS, Hang

ADDRESSES = 3 * 2**30  # bytes that a worker may map beyond what it has when it starts
_WORKS = 0.2  # seconds of work, or of waiting for a processor, between two alarms; less is a hang
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod",
            "os.truncate", "os.chown")  # fmt: skip


class Watch:
    """Notes what an audit hook sees that no reader may do."""

    def __init__(self, allowed: Path) -> None:
        self.allowed = os.path.realpath(allowed)
        self.noted: list[str] = []
        self.on = False

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        self.on = False
        try:
            self._look(event, args)
        finally:
            self.on = True

    def _look(self, event: str, args: tuple) -> None:
        if event in _PROGRAMS or event.startswith("socket.connect"):
            self.noted.append(f"{event} {str(args)[:100]}")
        elif event == "pickle.find_class":
            if not str(args[0]).startswith(("numpy", "_codecs")):
                self.noted.append(f"unpickled {args}")
        elif event == "exec" and self._inside(getattr(args[0], "co_filename", "")):
            self.noted.append(f"ran {args[0]}")
        elif event == "open":
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
            if isinstance(args[2], int) and args[2] & writes:
                self._check(event, args[0])
        elif event in _CHANGES and args[-1] in (-1, None):  # else relative to an open folder
            for path in args[: 2 if event == "os.rename" else 1]:
                self._check(event, path)

    def _inside(self, path: str) -> bool:
        return path.startswith("/") and os.path.realpath(path).startswith(self.allowed)

    def _check(self, event: str, path: object) -> None:
        if isinstance(path, int):
            return
        place = os.path.realpath(os.fsdecode(path))
        if not place.startswith((self.allowed, "/dev/null", "/proc/self")):
            self.noted.append(f"{event} outside: {place}")


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of all files of a folder except the target folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if "target" not in path.relative_to(folder).parts[:1] and path.is_file():
            facts = path.stat()
            found[str(path)] = (facts.st_size, facts.st_mtime_ns)
    return found


def peak_memory(reset: bool = False) -> int:
    """Return the largest resident size since the last reset, in bytes."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024


def limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESSES, hard))


class Alarm:
    """Rings when an attempt has worked for too long, or has waited for as long."""

    def __enter__(self) -> None:
        self._began, self._last = time.process_time(), _active()
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: object) -> None:
        now = _active()
        waited, self._last = now - self._last < _WORKS, now
        if waited or time.process_time() - self._began > SECONDS:
            raise Hang


def _active() -> float:
    """Return the seconds in which a thread of this process worked or waited for a processor."""
    nanoseconds = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            worked, waited, _ = path.read_text().split()
            nanoseconds += int(worked) + int(waited)
    return nanoseconds / 1e9
