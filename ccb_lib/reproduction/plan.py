"""The plan of measurements, ``data/results/plan.toml``: read, checked, expanded to runs, compared with the store."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccb_lib.detectors import METHODS
from ccb_lib.evaluation.protocols import Protocol
from ccb_lib.io.images import SIZES
from ccb_lib.io.project_data import project_data
from ccb_lib.io.tensors import read_header
from ccb_lib.reproduction.runs import (
    CLASSES,
    DATASETS,
    Run,
    missing_protocols,
    results_folder,
    store_path,
    table_runs,
    work_folder,
)
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.studies import STUDIES, arms, runs_of

PLAN = "plan.toml"
_WHOLE = ("epochs", "width", "limit", "test_limit")
_OF_STUDIES = ("epochs", "width", "limit")
_LISTS = ("methods", "arms", "datasets", "classes")
_WORDS = {"similarity": ("l2", "l1", "norm"), "chain_init": ("he", "dcgan")}
_SETTINGS = (*_WHOLE, "image_size", "normal", *_WORDS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One grid of the plan.

    Attributes:
        name: Small letters, digits and hyphens.
        why: One line.
        must: Whether the tables need it.
        source: A table, 1 to 7, or a study.
        rows: Methods of a table or arms of a study; empty for all.
        datasets, classes: Some of those of the source; empty for all.
        seeds: Each seed.
        settings: Such as ``epochs``.
    """

    name: str
    why: str
    source: int | str
    seeds: tuple[int, ...]
    must: bool = False
    rows: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def runs(self) -> list[Run]:
        """List the runs: seed by seed, class by class, so that a part that is done has whole pairs of methods."""
        some = {"datasets": self.datasets or None, "seeds": self.seeds}
        if isinstance(self.source, str):
            runs = runs_of(self.source, chosen=self.rows or None, **some, **self.settings)
        else:
            chosen = {"methods": self.rows or None, "abnormal": self.classes or None}
            runs = table_runs(self.source, **chosen, **some, **self.settings)
        order = [name for names in CLASSES.values() for name in names]
        return sorted(
            runs, key=lambda run: (self.seeds.index(run.seed), order.index(run.abnormal[0]))
        )

    @property
    def command(self) -> str:
        """What works this entry off."""
        return f"ccb measure --only {self.name}"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def plan_path(folder: str | Path | None = None) -> Path:
    """Return the plan of a folder of results, or of the project where that folder has none of its own."""
    own = Path(folder or results_folder()) / PLAN
    return own if own.is_file() else project_data("results") / PLAN


def read_plan(path: str | Path | None = None) -> list[Entry]:
    """Read a plan and check it.

    Args:
        path: The file; ``data/results/plan.toml`` by default.

    Returns:
        Its entries, in order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no TOML, or an entry is wrong; the message names the entry and the key.

    Example:
        >>> read_plan()[0].must
        True
    """
    path = plan_path() if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No plan at {path}. Work in a checkout of the book, or give a folder with a {PLAN}."
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    tables = content.get("entry")
    if not isinstance(tables, list) or not tables or set(content) != {"entry"}:
        raise ValueError(
            f"{path} has {sorted(content) or 'nothing'}; a list of [[entry]] is needed, and nothing else."
        )
    entries = [_entry(number, table) for number, table in enumerate(tables, start=1)]
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"entry {twice[0]!r}, key name: given twice; each entry needs a name of its own."
        )
    return entries


def _entry(number: int, table: Mapping[str, Any]) -> Entry:
    name = table.get("name")
    where = f"entry {name!r}" if isinstance(name, str) else f"entry {number}"

    def need(key: str, holds: Callable[[Any], bool], needed: str) -> Any:
        if not holds(table.get(key)):
            given = repr(table[key]) + " given" if key in table else "missing"
            raise ValueError(f"{where}, key {key}: {given}; {needed} is needed.")
        return table[key]

    need("name", lambda v: isinstance(v, str) and bool(re.fullmatch("[a-z0-9-]+", v)),
         "a name of small letters, digits and hyphens")  # fmt: skip
    need(
        "why",
        lambda v: isinstance(v, str) and bool(v.strip()) and "\n" not in v,
        "one line of text",
    )
    if "must" in table:
        need("must", lambda v: isinstance(v, bool), "true or false")
    if ("table" in table) == ("study" in table):
        raise ValueError(f"{where}, keys table and study: one of them is needed, and not both.")
    of_study = "study" in table
    if of_study:
        source = need("study", lambda v: v in STUDIES, f"one of {', '.join(STUDIES)}")
    else:
        source = need("table", lambda v: type(v) is int and 1 <= v <= 7, "a table, 1 to 7,")
    known = {
        "name",
        "why",
        "must",
        "seeds",
        "datasets",
        *(("study", "arms") if of_study else ("table", "methods")),
    }
    known |= set(_OF_STUDIES) if of_study else {"classes", *_SETTINGS}
    if foreign := sorted(set(table) - known):
        raise ValueError(
            f"{where}, key {foreign[0]}: unknown here; there are {', '.join(sorted(known))}."
        )
    need("seeds", _seeds, "a list of different whole numbers from 0")
    for key in set(_WHOLE) & set(table):
        need(key, lambda v: type(v) is int and v >= 1, "a whole number from 1")
    for key, values in {**_WORDS, "image_size": SIZES}.items():
        if key in table:
            need(key, lambda v, values=values: v in values, f"one of {', '.join(map(str, values))}")
    if "normal" in table:
        normals = ("nv", "bkl", "mel")
        need(
            "normal",
            lambda v: isinstance(v, str) and set(v.split("+")) <= set(normals),
            "some of nv+bkl+mel",
        )
    for key, names in _names(source, table.get("width")).items():
        if key in table:
            need(
                key, lambda v, names=names: _some(v, names), f"a list of some of {', '.join(names)}"
            )
    entry = Entry(
        name=table["name"],
        why=table["why"].strip(),
        source=source,
        seeds=tuple(table["seeds"]),
        must=table.get("must", False),
        rows=tuple(table.get("arms" if of_study else "methods", ())),
        datasets=tuple(table.get("datasets", ())),
        classes=tuple(table.get("classes", ())),
        settings={key: table[key] for key in _SETTINGS if key in table},
    )
    if not entry.runs():
        raise ValueError(f"{where}, keys datasets and classes: together they leave no run.")
    return entry


def _names(source: int | str, width: int | None) -> dict[str, Sequence[str]]:
    """List what each key that takes names may hold."""
    rows = (
        {"arms": tuple(arms(source, width))}
        if isinstance(source, str)
        else {"methods": tuple(METHODS)}
    )
    datasets = DATASETS[source]
    return {
        **rows,
        "datasets": datasets,
        "classes": [name for dataset in datasets for name in CLASSES[dataset]],
    }


def _some(value: Any, names: Sequence[str]) -> bool:
    return isinstance(value, list) and bool(value) and all(name in names for name in value)


def _seeds(value: Any) -> bool:
    whole = (
        isinstance(value, list)
        and bool(value)
        and all(type(seed) is int and seed >= 0 for seed in value)
    )
    return whole and len(set(value)) == len(value)


# ── how far it is ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class State:
    """How far an entry is.

    Attributes:
        entry: Which.
        done: Runs that the store holds.
        missing: Runs that it does not hold, in order.
        under_way: Epochs done of those among ``missing`` that have a checkpoint, by the run's key.
        lacking: Stored runs that have no scores under some protocol that is wanted, with those protocols.
    """

    entry: Entry
    done: list[Run]
    missing: list[Run]
    under_way: dict[str, int]
    lacking: list[tuple[Run, list[Protocol]]]


def state_of(
    entry: Entry, *, folder: str | Path | None = None, work: str | Path | None = None
) -> State:
    """Compare an entry with what is stored.

    Args:
        entry: Of the plan.
        folder: Folder of the results; ``data/results`` by default.
        work: As in `work_folder`.
    """
    path = store_path(entry.source, folder)
    stored, runs = Store.read(path).results, entry.runs()
    checkpoints = work_folder(path, work)
    missing = [run for run in runs if run.key not in stored]
    epochs = {
        run.key: len(read_header(checkpoints / f"{run.key}.safetensors").get("history", []))
        for run in missing
    }
    lacking = [(run, missing_protocols(run, stored[run.key])) for run in runs if run.key in stored]
    return State(
        entry,
        [run for run in runs if run.key in stored],
        missing,
        {key: done for key, done in epochs.items() if done},
        [(run, protocols) for run, protocols in lacking if protocols],
    )


# ── for readers ───────────────────────────────────────────────────────────────────────────────────────────────────

_BEGIN, _END = (
    "<!-- the plan, written by `ccb measure --write-readme` -->",
    "<!-- the end of the plan -->",
)


def as_markdown(entries: Sequence[Entry]) -> str:
    """Lay the plan out as a Markdown table: entry, why, must, command. What is done changes and is not in it."""
    lines = ["| entry | why | must | command |", "|---|---|---|---|"]
    lines += [
        f"| {e.name} | {e.why} | {'must' if e.must else ''} | `{e.command}` |" for e in entries
    ]
    return "\n".join(lines)


def with_plan(text: str, entries: Sequence[Entry]) -> str:
    """Put the table into a text, between the two comments that mark its place.

    Raises:
        ValueError: The text has no such place.
    """
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError(
            f"The README has no place for the plan. Put these lines where it is to stand: {_BEGIN} {_END}"
        )
    return f"{head}{_BEGIN}\n{as_markdown(entries)}\n{_END}{tail}"
