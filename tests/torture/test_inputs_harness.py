"""The harness of inputs finds what it looks for: readers with one defect each."""

import os
import pickle
import subprocess

import pytest

from tests.torture.inputs_judge import SECONDS, Hang, Input, Kind, judge
from tests.torture.inputs_run import attempt


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
