"""Working the plan off: what is missing is run in the plan's order, until all is done or the time is up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ccb_lib.reproduction.contribution import check_contribution
from ccb_lib.reproduction.execute import run_missing
from ccb_lib.reproduction.plan import Entry
from ccb_lib.reproduction.runs import RESULT_FILES, results_folder, store_path, work_folder
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.watch import Watch


def measure(
    entries: Sequence[Entry],
    *,
    watch: Watch,
    folder: str | Path | None = None,
    work: str | Path | None = None,
    **how: Any,
) -> dict[str, str]:
    """Run what the stores lack of a plan; each result is stored as it comes.

    Args:
        entries: Of the plan, in order.
        watch: Entered by the caller; says where the work is, and stops it.
        folder: Of the results; ``data/results`` by default.
        work: As in `ccb_lib.reproduction.runs.work_folder`.
        **how: ``root``, ``device`` and ``fast``, as in `ccb_lib.reproduction.execute.execute`.

    Returns:
        Runs that failed, with the reason; the others went on.

    Raises:
        RuntimeError: Another process works at the same results.
    """
    failed: dict[str, str] = {}
    with _alone(Path(folder or results_folder())):
        for entry in entries:
            runs, store = entry.runs(), Store.read(store_path(entry.source, folder))
            missing = [run for run in runs if run.key not in store.results]
            watch.say(f"{entry.name}: {len(runs) - len(missing)} of {len(runs)} runs done")
            checkpoints = work_folder(store.path, work).absolute()
            failed |= run_missing(
                missing, store, work=str(checkpoints), progress=False, watch=watch, **how
            )
            if watch.reason is not None:
                break
    return failed


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two processes would train the same run and write the same checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".measure.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(
            f"Another `ccb measure` works at {folder}. Stop it, or give --results another folder and --merge it later."
        ) from error
    try:
        yield
    finally:
        lock.release()


def merge(
    other: str | Path, folder: str | Path | None = None, say: Callable[[str], Any] = print
) -> int:
    """Take in the results of another machine.

    Args:
        other: A file of results, under the name that it has in ``data/results``; or a folder of such files.
        folder: Of the results that take them in; ``data/results`` by default.
        say: Takes a line for each file.

    Returns:
        How many runs were new.

    Raises:
        FileNotFoundError: There is no such file, or no file of results in the folder.
        ValueError: A file has another name, or is broken.
    """
    other = Path(other)
    paths = sorted(
        path for path in other.glob("*.safetensors") if path.stem in RESULT_FILES.values()
    )
    if not other.is_dir():
        paths = [other]
    known = ", ".join(f"{name}.safetensors" for name in sorted(set(RESULT_FILES.values())))
    if not paths:
        raise FileNotFoundError(f"No results in {other}. Give a folder with some of {known}.")
    new = 0
    for path in paths:
        if path.stem not in RESULT_FILES.values():
            raise ValueError(
                f"{path.name} given; the file's name says what it holds: {known}. Name it so."
            )
        store = Store.read(Path(folder or results_folder()) / f"{path.stem}.safetensors")
        table = next(name for name, stem in RESULT_FILES.items() if stem == path.stem)
        check_contribution(Store.read(path).results.values(), table)
        count = store.merge(path)
        say(f"{count} runs taken in from {path}")
        new += count
    return new
