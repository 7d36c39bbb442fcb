"""The plan of measurements, ``data/results/plan.toml``: its entries, their runs, what is done."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccb_lib.evaluation.protocols import Protocol
from ccb_lib.io.project_data import project_data
from ccb_lib.io.tensors import read_header
from ccb_lib.reproduction.plan_entries import Entry, parse_entry
from ccb_lib.reproduction.results import read_results
from ccb_lib.reproduction.runs import (
    Run,
    missing_protocols,
    results_folder,
    store_path,
    work_folder,
)

PLAN = "plan.toml"


def plan_path(folder: str | Path | None = None) -> Path:
    """Return the path of the plan in a folder of results, else of the project's plan."""
    own = Path(folder or results_folder()) / PLAN
    return own if own.is_file() else project_data("results") / PLAN


def read_plan(path: str | Path | None = None) -> list[Entry]:
    """Read a plan and check it.

    Args:
        path: The file; ``data/results/plan.toml`` by default.

    Returns:
        The entries, in order.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not TOML, or an entry is invalid; the message names the file, the
            entry and the key.

    Example:
        >>> read_plan()[0].must
        True
    """
    path = plan_path() if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No plan at {path}. Work in a checkout of the repository, or give a folder that has a "
            f"{PLAN}."
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path} is not TOML: its brackets are nested too deeply.") from error
    except ValueError as error:  # also no UTF-8, or a number of more digits than Python converts
        raise ValueError(f"{path} is not TOML: {error}.") from error
    try:
        return _entries(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _entries(content: dict[str, Any]) -> list[Entry]:
    tables = content.get("entry")
    if (
        not isinstance(tables, list)
        or not tables
        or set(content) != {"entry"}
        or not all(isinstance(table, dict) for table in tables)
    ):
        raise ValueError(
            f"it has {sorted(content) or 'no content'}; a list of [[entry]] is needed, and "
            "nothing else."
        )
    entries = [parse_entry(number, table) for number, table in enumerate(tables, start=1)]
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"entry {twice[0]!r}, key name: given twice; each entry needs a different name."
        )
    return entries


# ── progress ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class State:
    """The progress of an entry.

    Attributes:
        entry: The entry.
        done: Runs in the store.
        missing: Runs that are not in the store, in order.
        under_way: Epochs done of the missing runs that have a checkpoint, by the run's key.
        without_scores: Stored runs without scores under a protocol that is wanted, with these
            protocols.
    """

    entry: Entry
    done: list[Run]
    missing: list[Run]
    under_way: dict[str, int]
    without_scores: list[tuple[Run, list[Protocol]]]


def state_of(
    entry: Entry, *, folder: str | Path | None = None, work: str | Path | None = None
) -> State:
    """Compare an entry with the stored results.

    Args:
        entry: An entry of the plan.
        folder: Folder of the results; ``data/results`` by default.
        work: As in `work_folder`.
    """
    path = store_path(entry.source, folder)
    stored, runs = read_results(entry.source, folder), entry.runs()
    checkpoints = work_folder(path, work)
    missing = [run for run in runs if run.key not in stored]
    headers = {run.key: read_header(checkpoints / f"{run.key}.safetensors") for run in missing}
    done = [run for run in runs if run.key in stored]
    unscored = [(run, missing_protocols(run, stored[run.key])) for run in done]
    return State(
        entry,
        done,
        missing,
        {
            key: len(history)
            for key, header in headers.items()
            if isinstance(history := header.get("history"), list) and history
        },
        [(run, protocols) for run, protocols in unscored if protocols],
    )
