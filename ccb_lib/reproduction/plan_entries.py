"""Entries of the plan of measurements: their keys, their checks, their runs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ccb_lib.datasets import ham10000
from ccb_lib.detectors import METHODS
from ccb_lib.io.images import SIZES
from ccb_lib.reproduction.registry import CLASSES, PAPER_TABLES, STUDIES, TABLES
from ccb_lib.reproduction.runs import Run, table_runs
from ccb_lib.reproduction.studies import arms, runs_of

_WHOLE = ("epochs", "width", "limit", "test_limit")
_OF_STUDIES = ("epochs", "width", "limit")
_ALLOWED = {"similarity": ("l2", "l1", "norm"), "chain_init": ("he", "dcgan")}
_SETTINGS = (*_WHOLE, "image_size", "normal", *_ALLOWED)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the plan: a grid of runs.

    Attributes:
        name: Its name, of lower-case letters, digits and hyphens.
        why: The reason for it, one line.
        must: Whether the book's tables need it.
        source: A table, 1 to 7, or a study.
        rows: Methods of a table or arms of a study; empty for all.
        datasets, classes: Data sets and classes of the source; empty for all.
        seeds: The seeds.
        settings: Settings by name, such as ``epochs``.
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
        """List the runs by seed, then by class.

        In this order an interrupted entry has all methods of the classes that are done.
        """
        common = {"datasets": self.datasets or None, "seeds": self.seeds}
        if isinstance(self.source, str):
            runs = runs_of(self.source, chosen=self.rows or None, **common, **self.settings)
        else:
            chosen = {"methods": self.rows or None, "abnormal": self.classes or None}
            runs = table_runs(self.source, **chosen, **common, **self.settings)
        order = [name for names in CLASSES.values() for name in names]
        return sorted(
            runs, key=lambda run: (self.seeds.index(run.seed), order.index(run.abnormal[0]))
        )

    @property
    def command(self) -> str:
        """The shell command that executes this entry."""
        return f"ccb measure --only {self.name}"


def parse_entry(number: int, table: Mapping[str, Any]) -> Entry:
    """Check an ``[[entry]]`` of the plan and return it.

    Args:
        number: Its place in the plan, from 1; names it in errors if it has no valid name.
        table: Its keys and values.

    Raises:
        ValueError: A key is missing, unknown or has an invalid value; the message names the key.

    Example:
        >>> table = {"name": "one", "why": "A trial.", "table": 4, "seeds": [0], "methods": ["ccb"]}
        >>> len(parse_entry(1, table).runs())
        1
    """
    name = table.get("name")
    where = f"entry {name!r}" if isinstance(name, str) else f"entry {number}"

    def need(key: str, holds: Callable[[Any], bool], needed: str) -> Any:
        if not holds(table.get(key)):
            given = repr(table[key]) + " given" if key in table else "missing"
            raise ValueError(f"{where}, key {key}: {given}; {needed} is needed.")
        return table[key]

    need("name", lambda v: isinstance(v, str) and bool(re.fullmatch("[a-z0-9-]+", v)),
         "a name of lower-case letters, digits and hyphens")  # fmt: skip
    need(
        "why",
        lambda v: isinstance(v, str) and bool(v.strip()) and "\n" not in v,
        "one line of text",
    )
    if "must" in table:
        need("must", lambda v: isinstance(v, bool), "true or false")
    if ("table" in table) == ("study" in table):
        raise ValueError(f"{where}, keys table and study: exactly one of them is needed.")
    of_study = "study" in table
    if of_study:
        source = need("study", lambda v: v in STUDIES, f"one of {', '.join(STUDIES)}")
    else:
        source = need("table", lambda v: type(v) is int and v in PAPER_TABLES, "a table, 1 to 7,")
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
            f"{where}, key {foreign[0]}: unknown here; the keys are {', '.join(sorted(known))}."
        )
    need(
        "seeds",
        lambda v: (
            isinstance(v, list)
            and v
            and all(type(seed) is int and seed >= 0 for seed in v)
            and len(set(v)) == len(v)
        ),
        "a list of different whole numbers from 0",
    )
    for key in set(_WHOLE) & set(table):
        need(key, lambda v: type(v) is int and v >= 1, "a whole number from 1")
    for key, values in {**_ALLOWED, "image_size": SIZES}.items():
        if key in table:
            need(key, lambda v, values=values: v in values, f"one of {', '.join(map(str, values))}")
    if "normal" in table:
        need(
            "normal",
            lambda v: isinstance(v, str) and set(v.split("+")) <= set(ham10000.NORMAL),
            f"some of {'+'.join(ham10000.NORMAL)}",
        )
    for key, names in _names(source, table.get("width")).items():
        if key in table:
            need(
                key,
                lambda v, names=names: isinstance(v, list) and v and all(n in names for n in v),
                f"a list of some of {', '.join(names)}",
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
        raise ValueError(
            f"{where}, keys datasets and classes: together they leave no run. Change one of them."
        )
    return entry


def _names(source: int | str, width: int | None) -> dict[str, Sequence[str]]:
    """Return the names that each key with a list of names may hold."""
    rows = (
        {"arms": tuple(arms(source, width))}
        if isinstance(source, str)
        else {"methods": tuple(METHODS)}
    )
    spec = TABLES[source]
    return {**rows, "datasets": spec.datasets, "classes": spec.all_classes}
