"""Execution of the plan: missing runs in the plan's order, until all are done or time is up."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ccb_lib.io.writing import locked
from ccb_lib.reproduction.contribution import read_contribution
from ccb_lib.reproduction.execute import run_missing
from ccb_lib.reproduction.plan import Entry
from ccb_lib.reproduction.registry import TABLES
from ccb_lib.reproduction.runs import results_to_write, store_path, work_folder
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
    """Execute the missing runs of a plan; each result is stored when it is complete.

    Args:
        entries: Entries of the plan, in order.
        watch: Reports progress and stops the work; the caller has entered it with ``with``.
        folder: Folder of the results; ``data/results`` by default.
        work: As in `ccb_lib.reproduction.runs.work_folder`.
        **how: ``root``, ``device`` and ``fast``, as in `ccb_lib.reproduction.execute.execute`.

    Returns:
        Failed runs with the reason. A failure does not stop the others.

    Raises:
        RuntimeError: Another process is measuring with the same folder of results.
        ValueError: The folder of results lies in the installed package.
    """
    failed: dict[str, str] = {}
    place = results_to_write(folder)
    # Two processes would train the same run and write the same checkpoint.
    busy = (
        f"Another `ccb measure` works at {place}. Stop it, or use another folder with --results "
        "and add its files later with --merge."
    )
    with locked(place / ".measure.lock", busy):
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


def merge(
    other: str | Path, folder: str | Path | None = None, say: Callable[[str], Any] = print
) -> int:
    """Add the results of another machine.

    Args:
        other: A file of results with the same name as in ``data/results``, or a folder of such
            files.
        folder: Folder that receives the results; ``data/results`` by default.
        say: Called with one line of text per file.

    Returns:
        The number of new runs.

    Raises:
        FileNotFoundError: The file does not exist, or the folder has no file of results.
        ValueError: A file has another name, is damaged, or fails a check of `read_contribution`; or
            ``folder`` lies in the installed package.
    """
    other = Path(other)
    table_of = {spec.file: spec.name for spec in TABLES.values()}
    paths = sorted(path for path in other.glob("*.safetensors") if path.stem in table_of)
    if not other.is_dir():
        paths = [other]
    known = ", ".join(f"{name}.safetensors" for name in sorted(table_of))
    if not paths:
        raise FileNotFoundError(
            f"No results in {other}. Give a folder with one or more of {known}."
        )
    new = 0
    for path in paths:
        if path.stem not in table_of:
            raise ValueError(
                f"{path.name} given; the file's name says what it holds, and must be one of "
                f"{known}. Rename the file."
            )
        store = Store.read(results_to_write(folder) / f"{path.stem}.safetensors")
        count = store.merge(read_contribution(path, table_of[path.stem]))
        say(f"{count} runs added from {path}")
        new += count
    return new
