"""Reports of ``make torture``: what was tried, and how much of it went wrong.

Each harness writes one file, ``data/results/torture-NAME.json``, with `write`. The page "Fault
tests of the software" is drawn from these files. ``python -m tests.torture.report`` prints the
totals of all files, and exits with status 1 if an attempt failed; ``--run`` runs the harnesses
first.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from ccb_lib import __version__
from ccb_lib.environment import machine

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data" / "results"
NAMES = ("faults", "inputs", "book")
FAILURES = ("lost", "foreign_tracebacks", "hangs")


@dataclass
class Row:
    """Counts of one kind of attempt.

    Attributes:
        area: What was attacked, such as ``"ccb train"`` or ``"DICOM files"``.
        what: What was done to it, such as ``"SIGKILL after the first checkpoint"``.
        tried: Number of attempts.
        kept: Attempts that ended as they must: with an equal result, or with an error of the
            library's own.
        lost: Attempts that ended otherwise: another result, a stray file, a write outside.
        foreign_tracebacks: Attempts that showed a traceback, or raised an error that is not the
            library's own.
        hangs: Attempts that did not end in time.
        not_run: Why the attempt was not made; empty if it was.
    """

    area: str
    what: str
    tried: int = 0
    kept: int = 0
    lost: int = 0
    foreign_tracebacks: int = 0
    hangs: int = 0
    not_run: str = ""


def write(name: str, rows: Iterable[Row], seconds: float, folder: Path = FOLDER) -> Path:
    """Write the report of one harness.

    Args:
        name: One of `NAMES`.
        rows: The counts.
        seconds: How long the harness took.
        folder: Folder of the file.

    Returns:
        The file's path.
    """
    report = {
        "made": datetime.now(UTC).date().isoformat(),
        "library": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine(),
        "seconds": round(seconds, 1),
        "rows": [asdict(row) for row in rows],
    }
    path = folder / f"torture-{name}.json"
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def stored(name: str, folder: Path = FOLDER) -> tuple[float, list[Row]]:
    """Return seconds and rows of a report; none of them if there is no report."""
    path = folder / f"torture-{name}.json"
    if not path.is_file():
        return 0.0, []
    report = json.loads(path.read_text(encoding="utf-8"))
    return report["seconds"], [Row(**row) for row in report["rows"]]


def totals(names: Sequence[str] = NAMES, folder: Path = FOLDER) -> dict[str, int]:
    """Return the sums of tried, lost, foreign_tracebacks and hangs over the reports that exist."""
    sums = dict.fromkeys(("tried", *FAILURES), 0)
    for name in names:
        for row in stored(name, folder)[1]:
            sums = {key: total + getattr(row, key) for key, total in sums.items()}
    return sums


def run(name: str) -> bool | None:
    """Run a harness; return whether it succeeded, or ``None`` if there is nothing to run."""
    if not Path(__file__).with_name(f"{name}.py").is_file():
        return None
    if name == "book" and not (ROOT / "_build" / "html" / "index.html").is_file():
        return None
    return subprocess.run([sys.executable, "-m", f"tests.torture.{name}"], cwd=ROOT).returncode == 0


def main(words: Sequence[str] | None = None) -> int:
    """Print the totals of the named reports; return 1 if an attempt failed or none was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="faults, inputs, book; default all")
    parser.add_argument("--run", action="store_true", help="run the harnesses first")
    given = parser.parse_args(words)
    ended = {name: run(name) for name in given.names} if given.run else {}
    for name in (name for name, done in ended.items() if done is None):
        print(f"{name}: not run")
    sums = totals([name for name in given.names if ended.get(name, True) is not None])
    print(
        f"{sums['tried']:,} attempts: lost {sums['lost']}, "
        f"foreign tracebacks {sums['foreign_tracebacks']}, hangs {sums['hangs']}"
    )
    failed = any(sums[key] for key in FAILURES) or False in ended.values()
    return int(failed or not sums["tried"])


if __name__ == "__main__":
    sys.exit(main())
