"""Mutated detectors, checkpoints and stored results: safetensors files with a JSON header."""

import json
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ccb_lib.detectors import METHODS, load_detector
from ccb_lib.io.tensors import digest
from ccb_lib.metrics import ScoreTerms
from ccb_lib.reproduction import measure
from ccb_lib.reproduction.contribution import hashed
from ccb_lib.reproduction.plan import state_of
from ccb_lib.reproduction.plan_entries import parse_entry
from ccb_lib.reproduction.results import load_results
from ccb_lib.reproduction.runs import table_runs
from ccb_lib.reproduction.store import Result, Scored, Store, TestSet, key_of, scored_name, set_name
from ccb_lib.reproduction.tables import reported_and_measured, runs_in_words
from ccb_lib.training.checkpoints import load_checkpoint, save_checkpoint
from tests.torture.inputs_judge import Input, Kind
from tests.torture.inputs_mutate import join, mutated_json, mutated_tensors, split, with_digest

OLDER = Path(__file__).parents[1] / "detectors" / "version-0.1"
_QUICK = ("mean-intensity", "png-bytes", "pca", "nearest-neighbours")


def noise(count: int) -> torch.Tensor:
    """Return (N, 1, 32, 32) uint8 of the same random values at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 32, 32), generator=generator).to(torch.uint8)


# ── detectors ─────────────────────────────────────────────────────────────────────────────────────


def make_detectors(folder: Path) -> dict[str, list[bytes]]:
    """Fit the quick methods, and read small stored networks of an older version."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, dict[str, Any]] = {"pca": {"components": 2}}
    quick = []
    for name in _QUICK:
        detector = METHODS[name](**settings.get(name, {}))
        detector.fit(noise(24)[:12], calibration=noise(24)[12:], progress=False)
        detector.save(folder / "detector.safetensors")
        quick.append((folder / "detector.safetensors").read_bytes())
    networks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(OLDER.glob("*.safetensors")):
            if path.stem not in _QUICK:
                networks.append(path.read_bytes())
                load_detector(path, device="cpu").save(folder / "detector.safetensors")
                networks.append((folder / "detector.safetensors").read_bytes())
    return {"quick": quick, "networks": networks}


def mutate_detector(rng: Random, seeds: dict[str, list[bytes]]) -> Input:
    """Change bytes, tensors, or settings with a valid digest."""
    data = rng.choice(seeds["quick" if rng.random() < 0.8 else "networks"])
    return Input({"detector.safetensors": mutated_tensors(data, rng)})


def read_detector(folder: Path, given: Input) -> None:
    """Load a detector and score two images."""
    detector = load_detector(folder / "detector.safetensors", device="cpu")
    if detector.method in _QUICK:
        images = torch.zeros(
            (2, detector.channels_, *[detector.image_size_] * 2), dtype=torch.uint8
        )
        detector.decision_function(images)
        if detector.calibration_terms_ is not None:
            detector.predict(images)


# ── checkpoints ───────────────────────────────────────────────────────────────────────────────────

_SETTINGS = {"width": 8, "chain": [4, 3, 2, 1], "learning_rate": 2e-4, "images": "0123456789abcdef"}
_ENTRY = parse_entry(1, {"name": "a", "why": "b", "table": 1, "seeds": [0], "methods": ["ccb"],
                         "classes": ["airplane"]})  # fmt: skip


def _trainable() -> Any:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    return SimpleNamespace(
        networks_={"generator": network},
        optimizers_={"generator": torch.optim.Adam(network.parameters())},
    )


def make_checkpoint(folder: Path) -> bytes:
    """Save a small network after a step of training."""
    folder.mkdir(parents=True, exist_ok=True)
    made = _trainable()
    made.networks_["generator"](torch.ones(2, 1, 4, 4)).sum().backward()
    made.optimizers_["generator"].step()
    history = [{"loss": 1.5, "auc": 0.5}, {"loss": 1.25, "auc": 0.75}]
    save_checkpoint(made, folder / "c.safetensors", _SETTINGS, history)
    return (folder / "c.safetensors").read_bytes()


def mutate_checkpoint(rng: Random, seed: bytes) -> Input:
    """Change bytes, tensors, or settings and history with a valid digest."""
    (run,) = _ENTRY.runs()
    return Input({f"table1.runs/{run.key}.safetensors": mutated_tensors(seed, rng)})


def read_checkpoint(folder: Path, given: Input) -> None:
    """Resume from a checkpoint, and show the progress of its run."""
    state_of(_ENTRY, folder=folder / "results", work=folder)
    (name,) = given.files
    load_checkpoint(_trainable(), folder / name, _SETTINGS, epochs=3)


# ── stored results ────────────────────────────────────────────────────────────────────────────────


def make_store(folder: Path) -> bytes:
    """Store two runs of Table 1 on forty images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    store = Store(folder / "table1.safetensors")
    labels = np.arange(40) >= 24
    for number, run in enumerate(table_runs(1, methods=["ccb", "pca"], abnormal=["cat"])):
        ids = np.array([f"test/picture_{k}.png" for k in range(40)])
        tests = TestSet(labels, ids, ids, np.where(labels, "cat", "dog"))
        facts = {**run.identity, "key": run.key, "seconds": 1.5, "alpha": 0.9, "device": "CPU",
                 "torch": "2.6", "ccb_lib": "0.2", "commit": "0" * 40, "images": "0" * 16,
                 "machine": {"cpu": "x"}}  # fmt: skip
        terms = [ScoreTerms(*rng.gamma(2, 1, (2, n)).astype(np.float32)) for n in (40, 20)]
        names = [scored_name("cat", protocol) for protocol in run.protocols]
        store.add(Result(
            facts,
            {set_name(name): tests for name in names},
            {name: Scored(*terms, 1 + number) for name in names},
            {names[0]: [0.5, 0.75]},
        ))  # fmt: skip
    return store.path.read_bytes()


def make_export(folder: Path) -> bytes:
    """Store the same runs with hashed names, as ``ccb table --export`` does."""
    make_store(folder)
    results = Store.read(folder / "table1.safetensors").results.values()
    Store(folder / "export.safetensors").add(*(hashed(result) for result in results))
    return (folder / "export.safetensors").read_bytes()


def mutate_store(rng: Random, seed: bytes) -> Input:
    """Change bytes, tensors, or manifests whose key is computed anew."""
    return Input({"table1.safetensors": _mutated_store(rng, seed)})


def mutate_export(rng: Random, seed: bytes) -> Input:
    """Change a file of another machine in the same ways."""
    return Input({"theirs/table1.safetensors": _mutated_store(rng, seed)})


def _mutated_store(rng: Random, seed: bytes) -> bytes:
    if rng.random() < 0.4:
        return mutated_tensors(seed, rng)
    entries, header, body = split(seed)
    key = rng.choice(list(header["runs"]))
    run = header["runs"].pop(key)
    part = rng.choice(("manifest", "manifest", "manifest", "sets", "scored", "aucs"))
    run[part] = mutated_json(run[part], rng)
    with suppress(KeyError, TypeError):  # a changed manifest gets the key of its content
        key = run["manifest"]["key"] = key_of(run["manifest"])
    header["runs"][key] = run
    if rng.random() < 0.1 and entries:  # a term with its own digest as name
        name = rng.choice([name for name in entries if name.startswith("terms/")])
        values = np.frombuffer(body, np.float16).copy()
        values[rng.randrange(len(values))] = rng.choice((np.nan, np.inf, -1.0, 0.0))
        start, end = entries[name]["data_offsets"]
        body = values.tobytes()
        new = f"terms/{digest(torch.from_numpy(values[start // 2 : end // 2]))}"
        entries[new] = entries.pop(name)
        text = json.dumps(header).replace(name.removeprefix("terms/"), new.removeprefix("terms/"))
        header = json.loads(text)
    return join(entries, with_digest(header, rng), body)


def read_store(folder: Path, given: Input) -> None:
    """Compute the metrics and the table of stored runs, and write them for others."""
    load_results(1, folder=folder)
    reported_and_measured(1, folder=folder)
    runs_in_words(1, folder=folder)
    results = Store.read(folder / "table1.safetensors").results
    Store(folder / "export.safetensors").add(*(hashed(result) for result in results.values()))


def read_export(folder: Path, given: Input) -> None:
    """Merge a file of another machine, and compute the metrics."""
    measure.merge(folder / "theirs" / "table1.safetensors", folder, lambda _: None)
    try:
        load_results(1, folder=folder)
    except ValueError as error:
        raise RuntimeError(f"merged, but cannot be read: {error}") from error


KINDS = (
    Kind("Detectors", "bytes, tensors, settings with valid digests", make_detectors,
         mutate_detector, read_detector),
    Kind("Checkpoints", "bytes, tensors, settings and history with valid digests", make_checkpoint,
         mutate_checkpoint, read_checkpoint),
    Kind("Stored results", "bytes, tensors, manifests with valid digests and keys", make_store,
         mutate_store, read_store),
    Kind("Merged results", "bytes, tensors, manifests with valid digests and keys", make_export,
         mutate_export, read_export),
)  # fmt: skip
