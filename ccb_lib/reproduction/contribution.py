"""Results from other machines: checks of their files, and hashing of image ids and groups."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccb_lib.detectors import METHODS
from ccb_lib.reproduction.registry import CLASSES, TABLES
from ccb_lib.reproduction.store import Result, Store, TestSet, key_of

_HASH = r"[0-9a-f]{16}"
_IDS = {
    "cifar10": (r"(train|test)/[\w.-]+", r"(train|test)/[\w.-]+"),
    "ham10000": (r"ISIC_\d{7}", r"HAM_\d{7}"),
    # Of the 98 public slices. Names of the Geneva database must be hashed, see `_check_ids`.
    "ild": (r"\d{1,4}:\d+,\d+", r"\d{1,4}"),
}
"""Public forms of image ids and of groups, by data set; all other names must be hashed."""

_KINDS: dict[str, Any] = {
    "dataset": str, "method": str, "abnormal": list, "seed": int, "settings": dict,
    "options": dict, "limit": int | None, "key": str, "alpha": int | float, "device": str,
    "seconds": int | float,
}  # fmt: skip
_KINDS_OF_MORE = {"fast": bool | None, "history": list, "warnings": list}
_PATH = re.compile(r"(^|[\s\"'(])(/|~/|\\\\|[A-Za-z]:[\\/])|\\|://|\.dcm\b")


def hashed(result: Result) -> Result:
    """Replace image ids and groups by hashes, so that results hold no file or patient names.

    Equal names give equal hashes, so runs can still be compared image by image. This is not
    encryption: a name that can be guessed can be confirmed by hashing it.

    Args:
        result: The results of a run.

    Returns:
        The results with ids and groups of 16 hexadecimal digits; scores, labels and classes
        unchanged.

    Example:
        >>> from ccb_lib.reproduction.results import read_results
        >>> run = hashed(next(iter(read_results(4).values())))
        >>> len(run.sets["df|natural"].ids[0])
        16
    """
    dataset = result.manifest["dataset"]
    sets = {
        name: TestSet(
            tests.labels, _hashes(tests.ids, dataset), _hashes(tests.groups, dataset), tests.classes
        )
        for name, tests in result.sets.items()
    }
    return replace(result, sets=sets)


def _hashes(names: NDArray[np.str_], dataset: str) -> NDArray[np.str_]:
    return np.array(
        [hashlib.sha256(f"{dataset}/{name}".encode()).hexdigest()[:16] for name in names.tolist()]
    )


def check_contribution(results: Iterable[Result], table: int | str) -> None:
    """Check results from another machine before they are merged.

    Checks: the data set belongs to the table; the run's key matches its settings; the manifest is
    complete; classes belong to the data set; image ids and groups have the data set's public form
    or are hashed; no text looks like a path. `Store.read` has already verified digests and
    lengths.

    Args:
        results: Results read by `Store.read`.
        table: 1 to 7, or a study.

    Raises:
        ValueError: A check fails. The message names the run's key and what to do.

    Example:
        >>> from ccb_lib.reproduction.results import read_results
        >>> check_contribution(read_results(4).values(), 4)
    """
    for result in results:
        check_manifest(result.manifest, {**_KINDS, "torch": str})
        facts, key = result.manifest, result.key
        if facts["dataset"] not in TABLES[table].datasets:
            wanted = " or ".join(TABLES[table].datasets)
            raise ValueError(
                f"Run {key} has the data set {facts['dataset']}; table {table} needs {wanted}. "
                "Give the number of the run's own table."
            )
        if key != key_of(facts):
            raise ValueError(
                f"Run {key}: its settings give the key {key_of(facts)}. The manifest was changed; "
                "run it again."
            )
        _check_text(facts, key)
        _check_ids(result)


def read_contribution(path: str | Path, table: int | str) -> Store:
    """Read a file of another machine and check it; see `check_contribution`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, or a check fails. The message names the file.
    """
    store = Store.read(path, must_exist=True)
    try:
        check_contribution(store.results.values(), table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return store


def check_manifest(facts: Mapping[str, Any], needed: Mapping[str, Any] = _KINDS) -> None:
    """Raise ValueError unless a run's manifest has what tables read, each of the right type.

    Example:
        >>> check_manifest({})
        Traceback (most recent call last):
            ...
        ValueError: A run's manifest lacks dataset, method, abnormal, seed, settings, options, \
limit, key, alpha, device, seconds. Give a file of `ccb table --export`.
    """
    if missing := [name for name in needed if name not in facts]:
        raise ValueError(
            f"A run's manifest lacks {', '.join(missing)}. Give a file of `ccb table --export`."
        )
    key = facts["key"]
    kinds = {**needed, **_KINDS_OF_MORE}
    if odd := [n for n, kind in kinds.items() if n in facts and not isinstance(facts[n], kind)]:
        raise ValueError(f"Run {key} has a wrong type of {', '.join(odd)}.")
    more = {**facts["settings"], **facts["options"]}
    odd = [n for n, v in (facts | more).items() if isinstance(v, int) and abs(v) >= 2**63]
    odd += [n for n, v in facts["options"].items() if not isinstance(v, str | int | None)]
    if odd or not 0 <= facts["alpha"] <= 1:
        raise ValueError(f"Run {key} has a value out of range: {', '.join(odd) or 'alpha'}.")
    if facts["method"] not in METHODS:
        raise ValueError(
            f"Run {key} has the method {facts['method']!r}; one of {', '.join(METHODS)} is needed."
        )
    if facts["dataset"] not in CLASSES:
        raise ValueError(
            f"Run {key} has the data set {facts['dataset']!r}; one of {', '.join(CLASSES)} is "
            "needed."
        )
    if unknown := [n for n in facts["abnormal"] if n not in CLASSES[facts["dataset"]]]:
        raise ValueError(f"Run {key} has classes {unknown} that {facts['dataset']} does not have.")
    try:
        METHODS[facts["method"]](
            **{n: tuple(v) if isinstance(v, list) else v for n, v in facts["settings"].items()}
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"Run {key} has settings that do not fit its method: {error}") from error


def _check_text(facts: dict[str, Any], key: str) -> None:
    found = [text for text in _texts(facts) if _PATH.search(text)]
    if found:
        raise ValueError(
            f"Run {key}: the manifest holds text that looks like a path: {found[0][:60]!r}. Remove "
            "it."
        )


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
        forms = dict.fromkeys(forms, _HASH)  # names of the Geneva database are not public
    for name, tests in result.sets.items():
        for column, form in forms.items():
            allowed = re.compile(f"({form}|{_HASH})")
            bad = [text for text in getattr(tests, column).tolist() if not allowed.fullmatch(text)]
            if bad:
                raise ValueError(
                    f"Run {facts['key']}, {name}: {len(bad)} {column} are not of the data set's "
                    "public form, and may "
                    "name files or patients. Write the file with `ccb table N --export FILE`, "
                    "which hashes them."
                )
        classes = {
            text for text in tests.classes.tolist() if not re.fullmatch(r"[\w -]{1,40}", text)
        }
        if classes:
            raise ValueError(
                f"Run {facts['key']}, {name}: {len(classes)} class names are not plain words. Use "
                "at "
                "most 40 letters, digits, spaces and hyphens."
            )
