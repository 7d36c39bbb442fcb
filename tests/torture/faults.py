"""Disturb the commands of ``ccb``, start them again, and count what was lost.

``python -m tests.torture.faults`` plays all scenes and writes ``data/results/torture-faults.json``.
``--short`` plays a few of them and writes no report.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import ctypes
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.torture import dask_scenes, scenes
from tests.torture.commands import COMMANDS, Reference, World, reference
from tests.torture.disturb import counting_writes
from tests.torture.processes import import_everything
from tests.torture.report import Row, stored, write
from tests.torture.scenes import ANY, LATER, WRITING, NotRun, Scene, play

_NEW_MOUNTS = 0x20000  # CLONE_NEWNS of unshare(2)


@dataclass(frozen=True)
class Kind:
    """Scenes of one kind: an act, its arguments, and how often each command is disturbed by it.

    Attributes:
        what: For the report.
        act: The function that plays it.
        given: Its further arguments.
        full, short: Number of scenes for each command in the full and in the short form.
        only: Names of the commands that it disturbs; all if empty.
    """

    what: str
    act: Callable[..., None]
    given: tuple[Any, ...] = ()
    full: int = 1
    short: int = 0
    only: tuple[str, ...] = ()


TRAIN, TABLE, MEASURE, SCORE, CHECK = (command.name for command in COMMANDS)
KINDS = (
    Kind("Dask worker lost", dask_scenes.worker_lost, (), 1, 0, (TABLE,)),
    Kind("SIGKILL of the first process, --parallel 2", scenes.parent_killed, (), 1, 0, (TABLE,)),
    Kind(f"SIGKILL {ANY}, new Python", scenes.killed, (ANY, True), 1, 0, (TRAIN, TABLE)),
    Kind("SIGTERM, new Python", scenes.stopped, (signal.SIGTERM, True), 1, 0, (TRAIN, SCORE)),
    Kind("Ctrl-C, new Python", scenes.stopped, (signal.SIGINT, True), 1, 0, (TRAIN, TABLE)),
    Kind("Ctrl-C twice", scenes.stopped, (signal.SIGINT, False, True), 1),
    Kind("Ctrl-C", scenes.stopped, (signal.SIGINT,), 3, 1),
    Kind("SIGTERM", scenes.stopped, (signal.SIGTERM,), 2, 1),
    Kind(f"SIGKILL {LATER}", scenes.killed, (LATER,), 32, 1, (TRAIN,)),
    Kind(f"SIGKILL {LATER}", scenes.killed, (LATER,), 12, 1, (TABLE, MEASURE)),
    Kind(f"SIGKILL {ANY}", scenes.killed, (ANY,), 5, 1),
    Kind(f"SIGKILL {WRITING}", scenes.killed, (WRITING,), 4, 1),
    Kind("no file above a size", scenes.file_limit, (), 2),
    Kind("full disk", scenes.full_disk, (), 2, 1),
    Kind("read-only folder, ordinary user", scenes.read_only, (), 1, 1),
    Kind("the same command twice at once", scenes.same_command_twice, (), 1),
    Kind("two processes on one store", scenes.two_on_one_store, (), 2, 1, (TABLE,)),
    Kind("CUDA out of memory, simulated", scenes.out_of_gpu_memory, (), 2, 0,
         (TRAIN, TABLE, MEASURE, SCORE)),
    Kind("clocks that jump, and SIGKILL", scenes.jumping_clock, (), 1),
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One scene to play: which kind, which command, and its number, which seeds it."""

    kind: Kind
    command: int
    number: int

    @property
    def area(self) -> str:
        """The name of the command."""
        return COMMANDS[self.command].name


def tasks(short: bool) -> Iterator[Task]:
    """List the scenes of the short or the full form."""
    for kind in KINDS:
        for number, command in enumerate(COMMANDS):
            if not kind.only or command.name in kind.only:
                for repeat in range(kind.short if short else kind.full):
                    yield Task(kind, number, repeat)


def undisturbed_run(command: int, world: World) -> Reference:
    """Run a command undisturbed; tasks name commands by number, because functions do not pickle."""
    return reference(COMMANDS[command], world, world.base / f"reference-{command}", counting_writes)


def play_task(
    task: Task, world: World, references: Sequence[Reference], seed: int
) -> tuple[str, list[str]]:
    """Play a scene; return how it ended and what was wrong."""
    name = f"{KINDS.index(task.kind)}-{task.command}-{task.number}"
    scene = Scene(
        COMMANDS[task.command],
        references[task.command],
        world,
        world.base / "scenes" / name,
        random.Random(f"{seed} {name}"),
    )
    try:
        how = play(scene, task.kind.act, *task.kind.given)
    except NotRun as reason:
        return f"not run: {reason}", []
    except Exception:  # a scene that cannot be played must not end the others
        return "lost", [traceback.format_exc()]
    if how != "kept":
        scene.problems += [ended.text[-2000:] for ended in scene.seen]
    return how, scene.problems


def main(words: Sequence[str] | None = None) -> int:
    """Play the scenes; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few scenes, and no report")
    parser.add_argument(
        "--only",
        default="",
        help="scenes with this text in command or kind; other rows of the report are kept",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(words)
    begun = time.monotonic()
    import_everything()
    _own_mounts()
    rows: dict[tuple[str, str], Row] = {}
    with tempfile.TemporaryDirectory(prefix="ccb-faults.") as base:
        world = World(Path(base))
        world.make()
        chosen = [
            task for task in tasks(given.short) if given.only in f"{task.area}: {task.kind.what}"
        ]
        with ProcessPoolExecutor(given.jobs, mp_context=get_context("fork")) as pool:
            undisturbed = [
                pool.submit(undisturbed_run, number, world) for number in range(len(COMMANDS))
            ]
            references = [known.result() for known in undisturbed]
            print(f"{time.monotonic() - begun:.0f} s: undisturbed runs are done", flush=True)
            playing = {
                pool.submit(play_task, task, world, references, given.seed): task for task in chosen
            }
            for number, done in enumerate(as_completed(playing), start=1):
                if number % 20 == 0:
                    print(f"{number} of {len(chosen)} scenes", flush=True)
                _count(rows, playing[done], *done.result())
    ordered = [rows[key] for key in dict.fromkeys((task.area, task.kind.what) for task in chosen)]
    for row in ordered:
        print(f"{row.area}, {row.what}: {row.kept} of {row.tried} {row.not_run}")
    if not given.short:
        seconds, others = _kept(ordered) if given.only else (0.0, [])
        print(f"Wrote {write('faults', [*others, *ordered], seconds + time.monotonic() - begun)}.")
    return int(any(row.kept < row.tried for row in ordered))


def _kept(rows: Sequence[Row]) -> tuple[float, list[Row]]:
    """Return seconds and rows of the stored report, without the rows that replace some of them."""
    seconds, earlier = stored("faults")
    new = {(row.area, row.what) for row in rows}
    return seconds, [row for row in earlier if (row.area, row.what) not in new]


def _count(rows: dict[tuple[str, str], Row], task: Task, how: str, problems: list[str]) -> None:
    row = rows.setdefault((task.area, task.kind.what), Row(task.area, task.kind.what))
    if how.startswith("not run: "):
        row.not_run = how.removeprefix("not run: ")
        return
    row.tried += 1
    setattr(row, how, getattr(row, how) + 1)
    if problems:
        print(f"{task.area}, {task.kind.what}, scene {task.number}: {how}", flush=True)
        print(*problems, sep="\n  ", flush=True)


def _own_mounts() -> None:
    """Give this process mounts of its own, which end with it; without rights, do nothing."""
    if sys.platform == "linux" and ctypes.CDLL(None).unshare(_NEW_MOUNTS) == 0:
        private = ["mount", "--make-rprivate", "/"]
        subprocess.run(private, check=False, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
