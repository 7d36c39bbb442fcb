"""A few hundred mutated inputs of every kind, and each input that once ended in a failure."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.torture.inputs import KINDS
from tests.torture.inputs_dicom import ZEROS, elements, joined
from tests.torture.inputs_judge import SECONDS, Hang, Input, Kind, judge, write_files
from tests.torture.inputs_mutate import join, split, with_digest
from tests.torture.inputs_run import attempt

OF = {kind.area: kind for kind in KINDS}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A function that returns the valid inputs of a kind, which are made once."""
    made = {}

    def prepared(area):
        if area not in made:
            made[area] = OF[area].prepare(tmp_path_factory.mktemp("seeds") / "made")
        return made[area]

    return prepared


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A function that feeds an input to its reader: an error of the library's own must end it."""
    monkeypatch.chdir(tmp_path)

    def feed(area, files, *said, **options):
        given = Input(files, options, names=said if not files else ())
        write_files(tmp_path, files)
        how, why = judge(OF[area], given, tmp_path)
        assert how == "refused", why
        for words in said:
            assert words in why

    return feed


def test_some_inputs_of_each_kind():
    """In a process of its own, since a process with threads cannot be forked safely."""
    words = ["--count", "100", "--seed", "2", "--no-report"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.inputs", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{100 * len(KINDS):,} inputs" in done.stdout


# ── the harness finds what it looks for ───────────────────────────────────────────────────────────


def _read(what, folder):
    match what:
        case "result" | "own error":
            if what == "own error":
                raise ValueError(f"{folder / 'a.txt'} is no table")
        case "unnamed error":
            raise ValueError("it is no table")
        case "error of other code":
            raise KeyError("a.txt")
        case "out of memory":
            raise ValueError("a.txt: MemoryError")
        case "write outside":
            (folder.parent / "stray.txt").write_text("a.txt")
        case "program":
            subprocess.run(["true"], check=True)
        case "unpickled":
            pickle.loads(b"cbuiltins\neval\n(V1\ntR.")
        case "death":
            os._exit(3)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("result", None),
        ("own error", None),
        ("unnamed error", "foreign_tracebacks"),
        ("error of other code", "foreign_tracebacks"),
        ("out of memory", "lost"),
        ("write outside", "lost"),
        ("program", "lost"),
        ("unpickled", "lost"),
        ("death", "lost"),
    ],
)
def test_each_kind_of_failure_is_found(tmp_path, what, expected):
    kind = Kind("area", "what", lambda folder: None, lambda rng, seeds: Input({"a.txt": b""}),
                lambda folder, given: _read(what, folder))  # fmt: skip
    tally = attempt([kind], 2, 0, tmp_path / "work", jobs=1, say=lambda line: None)["area"]
    assert tally.tried == 2
    assert {f.how for f in tally.failures} == ({expected} if expected else set())
    assert len(tally.failures) == (2 if expected else 0)


def test_a_hang_is_found(tmp_path):
    def ring(folder, given):
        raise Hang

    kind = Kind("area", "what", lambda folder: None, lambda rng, seeds: Input(), ring)
    assert judge(kind, Input(), tmp_path) == ("hangs", f"more than {SECONDS} s")


# ── DICOM ─────────────────────────────────────────────────────────────────────────────────────────


def _deflated(plain, inflated):
    """A file of the deflated transfer syntax, of a small image and zeros."""
    head, tags = elements(plain)
    body = joined(b"", [tag for tag in tags if tag[0] != 2])
    meta = [[2, 0x10, b"UI", b"1.2.840.10008.1.2.1.99"]]
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    stream = packing.compress(body) + packing.flush(zlib.Z_FULL_FLUSH)
    return joined(head, meta) + stream + ZEROS * inflated + packing.flush()


@pytest.mark.parametrize("preamble", [True, False])
def test_a_deflated_bomb_is_not_inflated(seeds, refused, preamble):
    bomb = _deflated(seeds("DICOM files")[0], 1000)
    refused("DICOM files", {"a.dcm": bomb if preamble else bomb[132:]}, "it inflates to more than")


def test_a_small_deflated_file_is_read(seeds, tmp_path):
    data = _deflated(seeds("DICOM files")[0], 0)
    write_files(tmp_path, {"a.dcm": data})
    assert judge(OF["DICOM files"], Input({"a.dcm": data}), tmp_path) == ("result", "")


# ── NIfTI ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (70, "h", -1),  # a type that does not exist
        (70, "h", 128),  # colours
        (70, "h", 1),  # bits
        (108, "f", 1.0),  # voxels that begin in the header
        (108, "f", float("inf")),
        (116, "f", float("nan")),  # an intercept
        (40, "h", 2),  # two dimensions
        (42, "h", 30000),
        (280, "f", float("nan")),  # the affine
    ],
)
def test_odd_headers_of_volumes(seeds, refused, at, form, value):
    volumes = seeds("NIfTI files")["volumes"]
    data = bytearray(volumes[0])
    struct.pack_into("<" + form, data, at, value)
    if at == 116:
        struct.pack_into("<f", data, 112, 1.0)
    files = {"cxr.nii.gz": gzip.compress(bytes(data)), "mask.nii.gz": gzip.compress(volumes[1])}
    refused("NIfTI files", files, "cxr.nii.gz cannot be read")


@pytest.mark.parametrize("change", ["damaged", "cut", "empty", "bomb"])
def test_damaged_volumes(seeds, refused, change):
    made = seeds("NIfTI files")
    whole = gzip.compress(made["volumes"][0])
    data = {
        "damaged": whole[:40] + b"\xff\0\xff" + whole[43:],
        "cut": whole[:60],
        "empty": b"",
        "bomb": made["bombs"][0],
    }[change]
    refused("NIfTI files", {"cxr.nii.gz": data, "mask.nii.gz": whole}, "cxr.nii.gz cannot be read")


# ── CIFAR-10, ROI files, plans ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("labels", [[-1, 3], [3, 10], [[3], [8]], [0.5, 1.0], ["a", "b"]])
def test_labels_that_are_no_classes(refused, labels):
    pixels = np.zeros((2, 3072), np.uint8)
    batch = {"labels": labels, "data": pixels, "filenames": ["a.png", "b.png"]}
    good = pickle.dumps({**batch, "labels": [3, 8]}, 2)
    files = {"data_batch_1": pickle.dumps(batch, 2)}
    refused("CIFAR-10 batches", files, "is no CIFAR-10 batch", others=good)


@pytest.mark.parametrize("data", [b"\x80\x04\x95" + b"\xff" * 8, b"\x80\x05\x96" + b"\xff" * 8])
def test_lengths_beyond_any_memory(refused, data):
    refused("CIFAR-10 batches", {"data_batch_1": data}, "is no CIFAR-10 batch", others=b"")


def test_a_contour_of_200_000_points_is_not_drawn(seeds, tmp_path):
    from ccb_lib.datasets.ild_files import Report, from_text

    head = "Series: 1.2.3\nSpacingX: 1\nSpacingY: 1\nlabel: healthy\nslice_number: 1\n"
    text = f"{head}nb_points_on_contour: 200000\n" + "1 1\n" * 200_000
    write_files(tmp_path, {**seeds("ROI text files")["slices"], "1/rois.txt": text.encode()})
    report = Report(tmp_path)
    assert from_text(tmp_path / "1", report) == []
    assert report.lines == ["1/rois.txt: line 6: 200,000 points; at most 10,000 are read"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "is not TOML"),
        (b"entry = [1]", "a list of [[entry]] is needed"),
        (b"[[entry]]\nname = 3", "entry 1, key name"),
        (b'[[entry]]\nname = "a"\nwhy = "b"\nseeds = [0]\nstudy = ["skips"]', "key study"),
    ],
)
def test_plans_of_a_wrong_kind_are_named(refused, text, said):
    refused("plan.toml", {"plan.toml": text}, said)


# ── checkpoints and results ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("history", [3, 0.5, None, True])
def test_a_history_that_is_no_list(seeds, refused, history):
    entries, header, body = split(seeds("Checkpoints"))
    data = join(entries, with_digest({**header, "history": history}), body)
    from tests.torture.inputs_tensors import _ENTRY

    (run,) = _ENTRY.runs()
    refused("Checkpoints", {f"table1.runs/{run.key}.safetensors": data}, "no history")


def _with_facts(data, **facts):
    """A file of results whose first run has other facts, under the key that these give."""
    from ccb_lib.reproduction.store import key_of

    entries, header, body = split(data)
    run = next(iter(header["runs"].values()))
    changed = {**run["manifest"], **facts}
    changed = {name: value for name, value in changed.items() if value != "missing"}
    changed["key"] = key_of(changed)
    runs = {changed["key"]: {**run, "manifest": changed}}
    return join(entries, with_digest({**header, "runs": runs}), body)


@pytest.mark.parametrize(
    "facts",
    [
        {"alpha": "x"},
        {"alpha": 2**63},
        {"alpha": float("nan")},
        {"alpha": "missing"},
        {"seconds": "missing"},
        {"settings": {"chain": {}}},
        {"settings": {"x": 1}},
        {"settings": {"epochs": 10**400}},
        {"options": {"seed": [[]]}},
        {"method": "x"},
        {"method": []},
        {"dataset": {"a": 1}},
        {"abnormal": [{}]},
        {"abnormal": [0]},
        {"limit": "x"},
        {"device": None},
    ],
)
def test_facts_of_a_wrong_kind_are_named_with_the_file(seeds, refused, facts):
    data = _with_facts(seeds("Stored results"), **facts)
    refused("Stored results", {"table1.safetensors": data}, "table1.safetensors")
    data = _with_facts(seeds("Merged results"), **facts)
    refused("Merged results", {"theirs/table1.safetensors": data}, "theirs/table1.safetensors")


def test_calibration_terms_of_different_lengths(seeds, refused):
    entries, header, body = split(seeds("Stored results"))
    for run in header["runs"].values():
        for scored in run["scored"].values():
            scored["terms"]["calibration/latent"] = scored["terms"]["test/latent"]
    data = join(entries, with_digest(header), body)
    refused("Stored results", {"table1.safetensors": data}, "terms of different lengths")


# ── explorers ─────────────────────────────────────────────────────────────────────────────────────


def test_labels_of_different_lengths(refused):
    options = {"what": "page", "scores": [0.1, 0.2], "labels": [[1], 0]}
    refused("Explorer arguments", {}, "labels: ", **options)


def test_a_choice_that_cannot_be_a_key(refused):
    given = {"scores": [0.1, 0.2], "labels": [0, 1], "thresholds": None, "keys": [("a", "b")]}
    options = {**given, "what": "table", "axes": ("A", "B"), "choice": ([], [])}
    refused("Explorer arguments", {}, "choice=([], [])", **options)


@pytest.mark.parametrize("what", ["page", "widget"])
def test_a_prevalence_of_numpy_is_a_number(tmp_path, what):
    given = {"scores": [0.1, 0.2], "labels": [0, 1], "prevalence": np.float32(0.5), "stops": 20}
    read = Input(options={**given, "what": what}, names=("prevalence",))
    assert judge(OF["Explorer arguments"], read, tmp_path) == ("result", "")
