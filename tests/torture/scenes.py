"""Scenes: a command is disturbed, started again, and compared with the undisturbed run."""

import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture import disturb
from tests.torture.commands import Command, Reference, World, files_below, plain, table_words
from tests.torture.processes import Child, Ended

TRIES = 12  # a command that ends before its disturbance is started again with another moment
ANY, LATER, WRITING = "at any moment", "after the first checkpoint", "in the middle of a write"


class NotRun(Exception):  # noqa: N818  (no failure)
    """A scene cannot be played on this machine; the message says why."""


@dataclass
class Scene:
    """The folder and the random numbers of one scene, and what was seen.

    Attributes:
        command, undisturbed: The command and its reference.
        world: The shared images.
        folder: The folder that the command writes into.
        rng: Random numbers of this scene.
        seen: Every process that ended, in order.
        problems: What was not as it must be, one line each.
    """

    command: Command
    undisturbed: Reference
    world: World
    folder: Path
    rng: random.Random
    seen: list[Ended] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def written(self) -> Path:
        """The folder that the command writes into."""
        return self.folder / self.command.writes

    def clear(self) -> None:
        """Make the folder as before the first start."""
        self.command.clear(self.world, self.folder)

    def start(self, *more: object, **given: object) -> Child:
        """Start the command."""
        return self.command.start(self.world, self.folder, *more, **given)

    def end(self, child: Child) -> Ended:
        """Wait for the end of a process, and record it."""
        ended = child.wait()
        self.seen.append(ended)
        return ended

    def expect(self, true: object, problem: str) -> None:
        """Record a problem unless something is true."""
        if not true:
            self.problems.append(problem)

    def check_stray(self, *, unfinished: bool) -> None:
        """Record files that an undisturbed run does not leave; checkpoints may lie there."""
        left = files_below(self.folder) - self.undisturbed.files
        allowed = {
            str(path.relative_to(self.folder))
            for path in (
                self.folder.glob(self.command.checkpoint) if self.command.checkpoint else ()
            )
            if unfinished
        }
        self.expect(left <= allowed, f"stray files: {sorted(left - allowed)}")

    def again(self, **given: object) -> None:
        """Start the command again, and compare everything with the undisturbed run."""
        ended = self.end(self.start(*self.command.again, **given))
        reference = self.undisturbed
        self.expect(ended.status == reference.status, f"then exit status {ended.status}")
        if self.command.prints_results:
            same = plain(ended, self.folder) == reference.output
            self.expect(same, "then another output")
        try:
            self.expect(self.command.results(self.folder) == reference.results, "other results")
        except (OSError, ValueError) as error:
            self.problems.append(f"results cannot be read: {error}")
        self.check_stray(unfinished=False)
        self.expect(files_below(self.folder) == reference.files, "files are missing")

    def at_moment(self, when: str, fresh: bool) -> Child:
        """Start the command until a random moment; return it while it still runs."""
        known = self.undisturbed
        for attempt in range(TRIES):
            self.clear()
            if when == WRITING:
                number = self.rng.randint(1, max(1, known.writes >> attempt))
                return self.start(prepare=disturb.killed_in_write(number))
            child = self.start(fresh=fresh)
            if when == LATER:
                alive = child.until(lambda: self.command.has_checkpoint(self.folder))
                length = known.seconds - known.first_checkpoint
            else:
                # Before a new Python has begun the command, Ctrl-C shows a traceback of Python.
                alive = not fresh or child.until(child.imports_torch)
                length = known.seconds * (3 if fresh else 1)  # the import of PyTorch takes longer
            if alive and child.after(self.rng.uniform(0, length / (1 + attempt / 2))):
                return child
            ended = self.end(child)
            if ended.hung:
                break
        raise RuntimeError(f"{self.command.name} always ended before it was disturbed.")


def killed(scene: Scene, when: str, fresh: bool = False) -> None:
    """Kill the command with SIGKILL, which no process can handle."""
    for _ in range(TRIES):
        child = scene.at_moment(when, fresh)
        if when != WRITING:
            child.send(signal.SIGKILL)
        if scene.end(child).status == -signal.SIGKILL:
            break
    else:
        raise RuntimeError(f"{scene.command.name} always ended before it was killed.")
    scene.again()


def stopped(scene: Scene, signum: int, fresh: bool = False, twice: bool = False) -> None:
    """Stop the command as batch systems or Ctrl-C do: it says so, and leaves no stray file."""
    for _ in range(TRIES):
        child = scene.at_moment(ANY, fresh)
        child.send(signum)
        if twice:
            child.after(scene.rng.uniform(0, 0.05))
            child.send(signum)
        ended = scene.end(child)
        if ended.status != scene.undisturbed.status or "Stopped" in ended.text:
            break
    # Before the command has begun, SIGTERM ends Python without a word and click says "Aborted!".
    early = (ended.status == -signum and not ended.text) or "Aborted!" in ended.errors
    # Python ends by SIGINT itself where Ctrl-C met code that C++ had called; shells see 130 too.
    says = ended.status in (130, -signal.SIGINT) and "Stopped" in ended.errors
    scene.expect(early or says, f"stopped with exit status {ended.status}: {ended.errors[-200:]}")
    if not twice:
        scene.check_stray(unfinished=True)
    scene.again()


def own_error(scene: Scene, ended: Ended, *words: str) -> None:
    """Record a problem unless the command failed with a message that has one of these words."""
    said = ("Error: " in ended.errors or "Failed: " in ended.errors) and (
        any(word in ended.errors for word in words)
    )
    scene.expect(said, f"exit status {ended.status} without a reason: {ended.errors[-300:]}")


def file_limit(scene: Scene) -> None:
    """Limit the size of files, as a quota does; then start again without the limit."""
    scene.clear()
    size = scene.rng.randrange(scene.undisturbed.largest)
    ended = scene.end(scene.start(prepare=disturb.no_file_above(size)))
    _after_full_disk(scene, ended)
    scene.again()


def full_disk(scene: Scene) -> None:
    """Write to a file system that is too small; then start again on a larger one."""
    scene.clear()
    scene.written.mkdir(exist_ok=True)
    pages = scene.rng.randint(2, max(3, 2 * scene.undisturbed.largest // 4096))
    kept = {path: path.read_bytes() for path in scene.written.iterdir() if path.is_file()}
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={pages * 4096}", "none", str(scene.written)]
    if subprocess.run(mounted, capture_output=True).returncode:
        raise NotRun("mounting a file system is not allowed here")
    try:
        for path, content in kept.items():
            path.write_bytes(content)
        ended = scene.end(scene.start(prepare=disturb.with_user_cache(scene.written)))
        _after_full_disk(scene, ended)
        larger = ["mount", "-o", "remount,size=64m", str(scene.written)]
        subprocess.run(larger, check=True, capture_output=True)
        scene.again()
    finally:
        subprocess.run(["umount", "-l", str(scene.written)], check=False, capture_output=True)


def _after_full_disk(scene: Scene, ended: Ended) -> None:
    """Expect the usual end, or an error that names a file; no unfinished file may be left."""
    if ended.status != scene.undisturbed.status or "Error: " in ended.errors:
        own_error(scene, ended, "Cannot write", "No space left", "File too large")
        scene.expect(str(scene.folder) in ended.errors, "the error names no file")
    scene.check_stray(unfinished=True)


def read_only(scene: Scene) -> None:
    """Run as an ordinary user where all folders are read-only; then as a user who may write."""
    scene.clear()
    scene.written.mkdir(exist_ok=True)
    folders = [scene.folder, *(path for path in scene.folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    before = files_below(scene.folder)
    ended = scene.end(scene.start(prepare=disturb.as_ordinary_user(scene.folder / "cache")))
    for path in folders:
        path.chmod(0o755)
    if ended.status == disturb.UNREADABLE:
        raise NotRun("the user nobody cannot read the library here")
    if "ccb data check" in scene.command.name:  # goes on without a cache
        same = plain(ended, scene.folder) == scene.undisturbed.output
        scene.expect(same, "another output without a cache")
    else:
        scene.expect(ended.status == 1, f"exit status {ended.status}")
        own_error(scene, ended, "Permission denied. Choose a folder that you may write to.")
    scene.expect(files_below(scene.folder) == before, "files in a read-only folder")
    scene.again()


def out_of_gpu_memory(scene: Scene) -> None:
    """Let PyTorch report a full GPU in a random convolution; then start again with memory."""
    most = 2000
    for _ in range(TRIES):
        scene.clear()
        prepare = disturb.out_of_gpu_memory(scene.rng.randint(1, most))
        ended = scene.end(scene.start(prepare=prepare))
        if ended.status != scene.undisturbed.status or ended.hung:
            break
        most //= 3
    scene.expect(ended.status == 1, f"exit status {ended.status}")
    own_error(scene, ended, "CUDA out of memory")
    scene.check_stray(unfinished=True)
    scene.again()


def jumping_clock(scene: Scene) -> None:
    """Let the clocks jump, kill the command, move the files' times, and start it again."""
    for _ in range(TRIES):
        scene.clear()
        child = scene.start(prepare=disturb.jumping_clock(scene.rng.randrange(10**6)))
        child.after(scene.rng.uniform(0, scene.undisturbed.seconds))
        child.send(signal.SIGKILL)
        if scene.end(child).status == -signal.SIGKILL:
            break
    if not scene.command.writes:  # the images of `ccb data check` must stay as they are
        disturb.shift_file_times(scene.folder, scene.rng.randrange(10**6))
    scene.again(prepare=disturb.jumping_clock(scene.rng.randrange(10**6)))


def same_command_twice(scene: Scene) -> None:
    """Run the same command twice at once: each ends as usual or says why not."""
    scene.clear()
    children = [scene.start()]
    children[0].after(scene.rng.uniform(0, scene.undisturbed.seconds / 2))
    children.append(scene.start())
    for ended in [scene.end(child) for child in children]:
        if ended.status != scene.undisturbed.status:
            own_error(scene, ended, "Another `ccb measure`", "exists already", "not empty")
    scene.again()


def two_on_one_store(scene: Scene) -> None:
    """Let two processes add different runs to one file of results."""
    scene.clear()
    words = [table_words(name)(scene.world, scene.folder) for name in ("cat", "frog")]
    first = Child(words[0])
    first.after(scene.rng.uniform(0, scene.undisturbed.seconds / 4))
    for ended in [scene.end(child) for child in (first, Child(words[1]))]:
        scene.expect(ended.status == 0, f"exit status {ended.status}: {ended.errors[-200:]}")
    stored = scene.command.results(scene.folder)
    scene.expect(stored == scene.undisturbed.results, "other results")
    scene.again()


def parent_killed(scene: Scene) -> None:
    """Kill the first process alone where it has workers: they must end too."""
    scene.clear()
    child = scene.start("--parallel", 2, fresh=True)  # its workers are started anew, not forked
    child.until(lambda: scene.command.has_checkpoint(scene.folder))
    child.send(signal.SIGKILL, alone=True)
    scene.expect(scene.end(child).status == -signal.SIGKILL, "it ended before it was killed")
    scene.again()


def play(scene: Scene, act: Callable[..., None], *given: object) -> str:
    """Play a scene; return "kept", "lost", "foreign_tracebacks" or "hangs"."""
    try:
        act(scene, *given)
    finally:
        shutil.rmtree(scene.folder, ignore_errors=True)
    if any(ended.hung for ended in scene.seen):
        return "hangs"
    if any("Traceback (most recent call last)" in ended.text for ended in scene.seen):
        return "foreign_tracebacks"
    scene.expect(not any(ended.left for ended in scene.seen), "processes were left running")
    return "lost" if scene.problems else "kept"
