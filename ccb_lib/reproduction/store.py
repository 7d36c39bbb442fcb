"""Stored results of runs: score terms of every image under each protocol, one file per table."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccb_lib.evaluation.protocols import Protocol
from ccb_lib.io.tensors import digest, load_tensors, save_tensors
from ccb_lib.io.writing import locked
from ccb_lib.metrics import ScoreTerms

_VERSION = 1
# Terms are scaled to this maximum before they are stored as float16, which then has its full
# precision of 11 bits for values down to 6e-5.
_TOP = 2.0**15
_LONGEST = 2**26  # largest size of a column of text in bytes: a million names of 64 letters
_DAMAGED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, zlib.error)
_COLUMNS = ("labels", "ids", "groups", "classes")
IDENTITY = ("dataset", "method", "abnormal", "seed", "settings", "options", "limit")


@dataclass(frozen=True, eq=False)
class TestSet:
    """The test images of a run, without pixels.

    Attributes:
        labels: (K,) bool, True is abnormal.
        ids, groups, classes: (K,) str.
    """

    labels: NDArray[np.bool_]
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    classes: NDArray[np.str_]

    __test__ = False  # pytest must not collect this class

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def key(self) -> str:
        """The hash of all columns."""
        return digest(
            *(
                torch.frombuffer(bytearray(_bytes(getattr(self, n))), dtype=torch.uint8)
                for n in _COLUMNS
            )
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """The score terms of one run on one test set, with one way of feeding it.

    Attributes:
        test: Terms of the test images, (K,) each.
        calibration: Terms of the calibration images; ``None`` where they were not kept.
        epoch: The epoch scored, from 1.
    """

    test: ScoreTerms
    calibration: ScoreTerms | None
    epoch: int


@dataclass(frozen=True, eq=False)
class Result:
    """All results of one run.

    Attributes:
        manifest: Settings, seed, versions, device, seconds, commit, a hash of the images; JSON.
        sets: Test sets by class and kind (``"natural"`` or ``"as released"``).
        scored: Score terms by `scored_name`.
        aucs: The test AUC after each epoch, where it was recorded, by `scored_name`.
    """

    manifest: dict[str, Any]
    sets: dict[str, TestSet] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    aucs: dict[str, list[float]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The run's key."""
        return self.manifest["key"]


class Store:
    """The results of one table in one file.

    Args:
        path: The file; it need not exist.

    Attributes:
        results: Results by the runs' keys.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.results: dict[str, Result] = {}

    @classmethod
    def read(cls, path: str | Path, *, must_exist: bool = False) -> Self:
        """Read a file and verify it; a missing file gives an empty store.

        The digest of every stored array and the key of every run are verified, and the digest of
        the header in files that have one.

        Raises:
            FileNotFoundError: The file does not exist, and ``must_exist`` is true.
            ValueError: The file is damaged or inconsistent; the message names the run.
        """
        store = cls(path)
        if must_exist and not store.path.is_file():
            raise FileNotFoundError(
                f"No results at {path}. Give a file written by `ccb table --run`."
            )
        if store.path.exists():
            store.results = _unpacked(*load_tensors(store.path), store.path)
        return store

    def add(self, *results: Result) -> None:
        """Add results and write the file; results that other processes added meanwhile are kept.

        The file is replaced atomically, so it is always complete.
        """
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            self.results = {
                **type(self).read(self.path).results,
                **self.results,  # scores as they were given, which the file holds rounded
                **{r.key: r for r in results},
            }
            save_tensors(self.path, *_packed_all(self.results.values()))

    def merge(self, other: str | Path | Self) -> int:
        """Add all runs of another file, or of one that was read; return the number of new runs.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged.
        """
        theirs = other if isinstance(other, Store) else type(self).read(other, must_exist=True)
        new = [result for key, result in theirs.results.items() if key not in self.results]
        self.add(*new)
        return len(new)


def _packed_all(results: Iterable[Result]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    runs = {}
    for result in sorted(results, key=lambda r: r.key):
        sets = {}
        for name, test_set in result.sets.items():
            sets[name] = test_set.key
            for column in _COLUMNS:
                packed = bytearray(zlib.compress(_bytes(getattr(test_set, column)), 9))
                tensors[f"set/{test_set.key}/{column}"] = torch.frombuffer(
                    packed, dtype=torch.uint8
                )
        scored = {}
        for name, found in result.scored.items():
            terms = {}
            for part, pair in (("test", found.test), ("calibration", found.calibration)):
                for term, values in pair._asdict().items() if pair else ():
                    scale = float(np.abs(values).max()) / _TOP or 1.0
                    tensor = torch.from_numpy((values / scale).astype(np.float16))
                    # Equal scores are stored once: trivial scores are the same under all protocols.
                    name_of = digest(tensor)
                    tensors[f"terms/{name_of}"] = tensor
                    terms[f"{part}/{term}"] = [name_of, scale]
            scored[name] = {"epoch": found.epoch, "terms": terms}
        runs[result.key] = {
            "manifest": result.manifest,
            "sets": sets,
            "scored": scored,
            "aucs": result.aucs,
        }
    return tensors, {"kind": "results", "version": _VERSION, "runs": runs}


def _unpacked(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: Path
) -> dict[str, Result]:
    if header.get("kind") != "results" or header.get("version") != _VERSION:
        raise ValueError(
            f"{path} holds {header.get('kind')!r}, version {header.get('version')!r}; results of "
            f"version {_VERSION} "
            "are needed. Use the ccb_lib that wrote it, or run the table again."
        )
    runs = header.get("runs")
    if not isinstance(runs, dict):
        raise ValueError(
            f"{path} has no runs by their keys in its header. Delete it and run the table again."
        )
    sets: dict[str, TestSet] = {}
    terms_of: dict[str, Tensor] = {}
    results = {}
    for key, run in runs.items():
        try:
            if not key == run["manifest"]["key"] == key_of(run["manifest"]):
                raise ValueError("its key is not that of its settings")
            for set_key in run["sets"].values():
                if set_key not in sets:
                    sets[set_key] = TestSet(
                        *(_unpack(tensors[f"set/{set_key}/{c}"], c == "labels") for c in _COLUMNS)
                    )
                    if sets[set_key].key != set_key:
                        raise ValueError("the test set is not the one that was scored")
            scored = {}
            for name, facts in run["scored"].items():
                parts: dict[str, dict[str, NDArray[np.float32]]] = {}
                for which, (name_of, scale) in facts["terms"].items():
                    part, term = which.split("/")
                    if name_of not in terms_of:
                        terms_of[name_of] = _verified(tensors[f"terms/{name_of}"], name_of)
                    values = terms_of[name_of].numpy().astype(np.float32) * np.float32(scale)
                    if not np.isfinite(values).all():
                        raise ValueError(f"{name} has scores that are not finite")
                    parts.setdefault(part, {})[term] = values
                terms = {part: ScoreTerms(**columns) for part, columns in parts.items()}
                rows = len(sets[run["sets"][set_name(name)]])
                if any(len(column) != rows for column in terms["test"]):
                    raise ValueError(
                        f"{name} has {len(terms['test'].image)} scores for {rows} images"
                    )
                if len({len(column) for column in terms.get("calibration", ())}) > 1:
                    raise ValueError(f"{name} has calibration terms of different lengths")
                scored[name] = Scored(terms["test"], terms.get("calibration"), int(facts["epoch"]))
            named = {name: sets[set_key] for name, set_key in run["sets"].items()}
            aucs = {name: [float(auc) for auc in values] for name, values in run["aucs"].items()}
            results[key] = Result(run["manifest"], named, scored, aucs)
        except _DAMAGED as error:
            raise ValueError(
                f"{path}: run {key} does not fit together ({error}). Delete the file and run the "
                "table again."
            ) from error
    return results


def _verified(terms: Tensor, name: str) -> Tensor:
    """Return stored terms; raise ValueError unless their digest is their name."""
    if digest(terms) != name:
        raise ValueError("stored scores do not match the digest that names them")
    return terms


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the run key of a mapping with the entries of `Run.identity`, such as a manifest.

    Raises:
        KeyError: An entry is missing.
    """
    identity = {name: facts[name] for name in IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def scored_name(abnormal: str, protocol: Protocol) -> str:
    """Return the name of the score terms of an abnormal class under a protocol."""
    return f"{abnormal}|{protocol.test_set}|{protocol.scores_key}"


def set_name(name: str) -> str:
    """Return the name of the test set in a name of `scored_name`."""
    return name.rsplit("|", 1)[0]


def _bytes(column: NDArray) -> bytes:
    return (
        column.astype(np.uint8).tobytes()
        if column.dtype == bool
        else "\0".join(column.tolist()).encode()
    )


def _unpack(packed: Tensor, labels: bool) -> NDArray:
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(packed.numpy().tobytes(), _LONGEST)
    if not unpacking.eof:
        raise ValueError(f"a column is cut off, or has more than {_LONGEST:,} bytes")
    return (
        np.frombuffer(raw, np.uint8).astype(bool)
        if labels
        else np.array(raw.decode().split("\0"), dtype=np.str_)
    )
