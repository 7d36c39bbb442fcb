"""Results that someone else measured: what a file of scores may hold, and names taken out of it."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccb_lib.detectors import METHODS
from ccb_lib.reproduction.runs import CLASSES, DATASETS
from ccb_lib.reproduction.store import Result, TestSet, key_of

_HASH = r"[0-9a-f]{16}"
_IDS = {
    "cifar10": (r"(train|test)/[\w.-]+", r"(train|test)/[\w.-]+"),
    "ham10000": (r"ISIC_\d{7}", r"HAM_\d{7}"),
    "ild": (r"\d{1,4}:\d+,\d+", r"\d{1,4}"),  # 98 slices that are public; those of Geneva are hashed
}
"""Public forms of image ids and of groups, by data set; anything else must be hashed."""

_REQUIRED = ("dataset", "method", "abnormal", "seed", "settings", "options", "limit", "key", "alpha", "device", "torch")
_PATH = re.compile(r"(^|[\s\"'(])(/|~/|\\\\|[A-Za-z]:[\\/])|\\|://|\.dcm\b")


def hashed(result: Result) -> Result:
    """Replace image ids and groups by hashes, so that a file names no file and no patient.

    The same name always gives the same hash, so that runs can still be compared image by image.
    Whoever can guess a name can find its hash: this hides names from reading, it is no encryption.

    Args:
        result: A run.

    Returns:
        The run with ids and groups of 16 hexadecimal digits; scores, labels and classes as they were.

    Example:
        >>> from ccb_lib.reproduction.results import read_results
        >>> run = hashed(next(iter(read_results(4).values())))
        >>> len(run.sets["df|natural"].ids[0])
        16
    """
    dataset = result.manifest["dataset"]
    sets = {
        name: TestSet(tests.labels, _hashes(tests.ids, dataset), _hashes(tests.groups, dataset), tests.classes)
        for name, tests in result.sets.items()
    }
    return replace(result, sets=sets)


def _hashes(names: NDArray[np.str_], dataset: str) -> NDArray[np.str_]:
    return np.array([hashlib.sha256(f"{dataset}/{name}".encode()).hexdigest()[:16] for name in names.tolist()])


def check_contribution(results: Iterable[Result], table: int | str) -> None:
    """Check runs from elsewhere before they are taken in.

    Checked: the data set belongs to the table; the run's key is that of its settings; the manifest is whole; scores
    cover the test sets (`Store.read` has verified digests and lengths); classes are the table's; image ids and groups
    have the data set's public form or are hashed; and no text looks like a path.

    Args:
        results: Of `Store.read`.
        table: 1 to 7, or a study.

    Raises:
        ValueError: The first thing that does not fit, with the run's key and what to do.

    Example:
        >>> from ccb_lib.reproduction.results import read_results
        >>> check_contribution(read_results(4).values(), 4)
    """
    for result in results:
        facts = result.manifest
        if missing := [name for name in _REQUIRED if name not in facts]:
            raise ValueError(f"A run's manifest lacks {', '.join(missing)}. Give a file of `ccb table --export`.")
        key = facts["key"]
        if facts["dataset"] not in DATASETS[table]:
            wanted = " or ".join(DATASETS[table])
            raise ValueError(f"Run {key} is of {facts['dataset']}; table {table} needs {wanted}.")
        if facts["method"] not in METHODS:
            raise ValueError(f"Run {key} is of {facts['method']!r}; methods are {', '.join(METHODS)}.")
        if key != key_of(facts):
            raise ValueError(
                f"Run {key}: its settings give the key {key_of(facts)}. The manifest was changed; run again."
            )
        if unknown := set(facts["abnormal"]) - set(CLASSES[facts["dataset"]]):
            raise ValueError(f"Run {key} has classes {sorted(unknown)} that {facts['dataset']} does not have.")
        _check_text(facts, key)
        _check_ids(result)


def _check_text(facts: dict[str, Any], key: str) -> None:
    found = [text for text in _texts(facts) if _PATH.search(text)]
    if found:
        raise ValueError(f"Run {key}: the manifest holds what looks like a path: {found[0][:60]!r}. Take it out.")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(name)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _check_ids(result: Result) -> None:
    facts = result.manifest
    forms = dict(zip(("ids", "groups"), _IDS[facts["dataset"]], strict=True))
    if facts["dataset"] == "ild" and facts["options"].get("source") != "lung_ct_98":
        forms = dict.fromkeys(forms, _HASH)  # the Geneva database is not public
    for name, tests in result.sets.items():
        for column, form in forms.items():
            allowed = re.compile(f"({form}|{_HASH})")
            bad = [text for text in getattr(tests, column).tolist() if not allowed.fullmatch(text)]
            if bad:
                raise ValueError(
                    f"Run {facts['key']}, {name}: {len(bad)} {column} are not of the data set's public form, and may "
                    "name files or patients. Write the file with `ccb table N --export FILE`, which hashes them."
                )
        classes = {text for text in tests.classes.tolist() if not re.fullmatch(r"[\w -]{1,40}", text)}
        if classes:
            raise ValueError(f"Run {facts['key']}, {name}: {len(classes)} class names are not plain words.")
