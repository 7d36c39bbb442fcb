"""The commands that are disturbed, their images, and what their results are compared by."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ccb_lib.datasets.cifar10 import CLASSES
from ccb_lib.io.tensors import load_tensors
from ccb_lib.reproduction.store import Store
from tests.torture.processes import Child, Ended, empty, nothing, run

SMALL = ("--epochs", 12, "--width", 2, "--device", "cpu")
PLAN = """
[[entry]]
name = "networks"
why = "a network on one class"
table = 1
methods = ["ccb"]
classes = ["cat"]
seeds = [0]
epochs = 5
width = 2
limit = 32

[[entry]]
name = "simple"
why = "a score without a network"
table = 1
methods = ["pca"]
classes = ["frog"]
seeds = [0]
limit = 32
"""
_CACHE_KEY = re.compile(r"(?<=cifar10)-[0-9a-f]{16}")
TIMED = ("seconds", "commit")  # facts that differ between two equal runs


@dataclass(frozen=True)
class World:
    """Folders with the images and the detector that all commands share, and a folder for work."""

    base: Path

    @property
    def raw(self) -> Path:
        """CIFAR-10's class folders with few made images."""
        return self.base / "raw"

    @property
    def own(self) -> Path:
        """A user's folder of images, in train/normal, test/normal and test/abnormal."""
        return self.base / "own"

    @property
    def model(self) -> Path:
        """A saved detector."""
        return self.base / "model.safetensors"

    def make(self) -> None:
        """Make the images and the detector."""
        rng = np.random.default_rng(0)
        os.environ["XDG_CACHE_HOME"] = str(self.base / "cache")
        for part, count in (("train", 24), ("test", 8)):
            for label, name in enumerate(CLASSES):
                mean = 60 + 10 * label
                shape = (count, 32, 32, 3)
                _write_images(self.raw / "cifar10" / part / name, rng.normal(mean, 30, shape))
        for part, count, mean in (("train/normal", 160, 90), ("test/normal", 8, 90),
                                  ("test/abnormal", 8, 190)):  # fmt: skip
            _write_images(self.own / part, rng.normal(mean, 20, (count, 32, 32)))
        words = ["train", "folder", "--root", self.own, "--abnormal", "abnormal", *SMALL]
        check = ["data", "check", "cifar10", "--root", self.raw]  # fills the cache
        for command in ([*words, "--out", self.model], check):
            ended = run(command)
            if ended.hung or "Traceback" in ended.text:
                raise RuntimeError(ended.text)
        for path in (self.base, *self.base.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def _write_images(folder: Path, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels.clip(0, 255).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{folder.name}_{number:03d}.png")


@dataclass(frozen=True)
class Command:
    """A command of ``ccb`` that writes into one folder.

    Attributes:
        name: As users know it.
        words: Its arguments, for the shared folders and the folder that it writes into.
        results: What must be equal after a disturbance, read from that folder.
        prepare: Fills the folder before the first start.
        checkpoint: Pattern of its checkpoints in the folder; empty if it has none.
        writes: Subfolder that it writes into.
        again: Further arguments of the second start.
        prints_results: Whether its output must be equal too.
    """

    name: str
    words: Callable[[World, Path], list[object]]
    results: Callable[[Path], Any]
    prepare: Callable[[World, Path], None] = lambda world, folder: None
    checkpoint: str = ""
    writes: str = ""
    again: tuple[str, ...] = ()
    prints_results: bool = True

    def start(self, world: World, folder: Path, *more: object, **given: Any) -> Child:
        """Start the command; further arguments are those of `Child`.

        The child keeps its priority: `ccb measure` would lower it.
        """
        given["prepare"] = usual_priority(given.get("prepare", nothing))
        return Child([*self.words(world, folder), *more], **given)

    def clear(self, world: World, folder: Path) -> None:
        """Make the folder as it is before the first start."""
        empty(folder)
        self.prepare(world, folder)

    def has_checkpoint(self, folder: Path) -> bool:
        """Return whether a checkpoint was written."""
        return any(folder.glob(self.checkpoint)) if self.checkpoint else False


@dataclass(frozen=True)
class Reference:
    """What a command does undisturbed.

    Attributes:
        status, output: Its exit status, and what it prints; see `plain`.
        results: Its results.
        files: The files in its folder.
        seconds: The time it takes.
        first_checkpoint: The time until its first checkpoint; 0 without checkpoints.
        writes: The number of files that it writes.
        largest: The size of the largest of them in bytes.
    """

    status: int
    output: str
    results: Any
    files: frozenset[str]
    seconds: float
    first_checkpoint: float
    writes: int
    largest: int


def usual_priority(prepare: Callable[[], None]) -> Callable[[], None]:
    """Return a function that prepares a child, and keeps it from lowering its priority."""

    def prepared() -> None:
        prepare()
        os.nice = lambda by: by

    return prepared


def files_below(folder: Path) -> frozenset[str]:
    """List the files in a folder, and the temporary folders of unfinished writes.

    The names of cached images depend on the folder, so the part that does is replaced.
    """
    return frozenset(
        _CACHE_KEY.sub("-KEY", str(path.relative_to(folder)))
        for path in folder.rglob("*")
        if not path.is_dir() or ".part" in path.name
    )


def plain(ended: Ended, folder: Path) -> str:
    """Return the output with the folder's own name left out."""
    return ended.output.replace(str(folder), "FOLDER")


# ── results, as values that compare equal if they are equal in every bit ─────────────────────────


def _tensors(path: Path) -> Any:
    tensors, header = load_tensors(path)
    values = {name: (str(t.dtype), t.shape, t.numpy().tobytes()) for name, t in tensors.items()}
    return values, _untimed(header)


def _untimed(value: Any) -> Any:
    """Return JSON without the entries that differ between two equal runs."""
    if isinstance(value, dict):
        return {name: _untimed(item) for name, item in value.items() if name not in TIMED}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def _stored(folder: Path) -> Any:
    results = Store.read(folder / "table1.safetensors").results
    return {
        key: (
            _untimed(result.manifest),
            {name: part.key for name, part in result.sets.items()},
            {name: _scored(found) for name, found in result.scored.items()},
            result.aucs,
        )
        for key, result in results.items()
    }


def _scored(found: Any) -> Any:
    terms = [found.test, *([found.calibration] if found.calibration else [])]
    return found.epoch, [column.tobytes() for pair in terms for column in pair]


def _contents(folder: Path) -> Any:
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"FOLDER")
        for path in folder.rglob("*")
        if path.is_file()
    }


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


def table_words(*classes: str) -> Callable[[World, Path], list[object]]:
    """Return the arguments of ``ccb table 1 --run`` for these abnormal classes."""

    def words(world: World, folder: Path) -> list[object]:
        chosen = ["--method", "ccb", "--abnormal", *classes, "--root", world.raw, "--limit", 32]
        small = ["--epochs", 4, "--width", 2, "--device", "cpu"]
        return ["table", 1, "--run", *chosen, *small, "--results", folder]

    return words


def _copy_of_images(world: World, folder: Path) -> None:
    shutil.copytree(world.raw, folder, dirs_exist_ok=True, ignore=lambda *_: [".ccb_cache"])
    (folder / "cifar10" / ".ccb_cache").mkdir()


def _cache(folder: Path) -> Any:
    """Return the cached images, without the name of the file, which depends on the folder."""
    return [_tensors(path) for path in (folder / "cifar10/.ccb_cache").glob("*.safetensors")]


COMMANDS = (
    Command(
        "ccb train",
        lambda world, folder: ["train", "folder", "--root", world.own, "--abnormal", "abnormal",
                               *SMALL, "--out", folder / "m.safetensors"],
        lambda folder: _tensors(folder / "m.safetensors"),
        checkpoint="m.checkpoint.safetensors",
    ),
    Command(
        "ccb table --run",
        table_words("cat", "frog"),
        _stored,
        checkpoint=".table1.runs/*.safetensors",
    ),
    Command(
        "ccb measure",
        lambda world, folder: ["measure", "--results", folder, "--root", world.raw,
                               "--device", "cpu"],
        _stored,
        lambda world, folder: (folder / "plan.toml").write_text(PLAN),  # type: ignore[func-returns-value]
        checkpoint=".table1.runs/*.safetensors",
        prints_results=False,  # it prints the time of day, and which runs it resumes
    ),
    Command(
        "ccb score",
        lambda world, folder: ["score", world.model, world.own, "--out", folder / "s.csv",
                               "--heatmaps", folder / "maps", "--device", "cpu"],
        _contents,
        again=("--force",),
    ),
    Command(
        "ccb data check",
        lambda world, folder: ["data", "check", "cifar10", "--root", folder],
        _cache,
        _copy_of_images,
        writes="cifar10/.ccb_cache",
    ),
)  # fmt: skip


def reference(command: Command, world: World, folder: Path, count_writes: Callable) -> Reference:
    """Run a command undisturbed, and run it again to count its writes.

    Raises:
        RuntimeError: It failed, or two undisturbed runs differ.
    """
    runs = []
    for prepare in (nothing, count_writes(folder.with_suffix(".writes"))):
        command.clear(world, folder)
        child = command.start(world, folder, prepare=prepare)
        first = 0.0
        if command.checkpoint and child.until(lambda: command.has_checkpoint(folder)):
            first = child.seconds()
        ended = child.wait()
        seconds = child.seconds()
        if ended.hung or ended.status not in (0, 1) or "Traceback" in ended.text:
            raise RuntimeError(f"{command.name} fails undisturbed: {ended}")
        runs.append((plain(ended, folder), command.results(folder)))
    if runs[0][1] != runs[1][1] or (command.prints_results and runs[0][0] != runs[1][0]):
        raise RuntimeError(f"Two undisturbed runs of {command.name} differ.")
    writes = len(folder.with_suffix(".writes").read_text())
    files, written = files_below(folder), folder / command.writes
    largest = max(path.stat().st_size for path in written.rglob("*") if path.is_file())
    return Reference(ended.status, *runs[0], files, seconds, first, writes, largest)
