"""Bad input: mutated files and arguments for everything that the library reads.

``python -m tests.torture.inputs`` tries 5,000 inputs of each kind and writes
``data/results/torture-inputs.json``. Each input depends on the seed, its kind and its number alone,
so ``--only "DICOM files" --first 1234 --count 1`` repeats one.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ccb_lib.reproduction.plan import read_plan
from tests.torture import (
    inputs_archives,
    inputs_dicom,
    inputs_images,
    inputs_tensors,
    inputs_text,
    inputs_values,
)
from tests.torture.inputs_judge import Kind
from tests.torture.inputs_run import Tally, attempt
from tests.torture.report import FAILURES, Row, write

KINDS: tuple[Kind, ...] = (
    *inputs_images.KINDS,
    *inputs_dicom.KINDS,
    *inputs_text.KINDS,
    *inputs_tensors.KINDS,
    *inputs_archives.KINDS,
    *inputs_values.KINDS,
)
FULL, SEED = 5000, 1


def row(kind: Kind, tally: Tally) -> Row:
    """Return the row of the report for one kind."""
    counts = {how: sum(f.how == how for f in tally.failures) for how in FAILURES}
    kept = tally.results + tally.refused
    return Row(kind.area, kind.what, tried=tally.tried, kept=kept, **counts)


def _import_all() -> None:
    """Import what the library imports at first use, which takes seconds in each worker."""
    for name in ("matplotlib.path", "pydicom.pixels", "scipy.stats", "torch._dynamo"):
        importlib.import_module(name)
    read_plan()


def main(words: Sequence[str] | None = None) -> int:
    """Try the inputs; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=FULL, help="inputs of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", nargs="*", choices=[kind.area for kind in KINDS])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-report", action="store_true", help="do not write the report")
    given = parser.parse_args(words)
    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    inputs_values.stub_work()
    _import_all()
    began = time.monotonic()
    kinds = [kind for kind in KINDS if not given.only or kind.area in given.only]
    place = Path("/dev/shm")  # memory, if there is such a folder: inputs are many small files
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        tallies = attempt(
            kinds, given.count, given.seed, Path(folder), jobs=given.jobs, first=given.first,
            batch=max(1, min(1000, given.count // given.jobs)),
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
    failed = sum(len(tally.failures) for tally in tallies.values())
    seconds = time.monotonic() - began
    print(f"{sum(t.tried for t in tallies.values()):,} inputs in {seconds:.0f} s, {failed} failed")
    if not given.no_report:
        print(write("inputs", [row(kind, tallies[kind.area]) for kind in kinds], seconds))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
