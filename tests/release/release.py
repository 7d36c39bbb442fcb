"""Check a release: its files, its installation, its notebooks, and the time of the book's build.

    python tests/release/release.py [--out FILE] [--python PYTHON ...] [--only files notebooks ...]

Builds the wheel and the source archive and checks what they contain, installs the wheel in empty
environments outside the checkout, each with the oldest PyTorch that ``pyproject.toml`` allows and
with the newest one, and runs ``smoke.py`` in each. In the first environment with the newest PyTorch
it also executes every notebook at small sizes. It builds the book from nothing, and again after
a change of one sentence. Prints one line a check. Ends with 1 if one failed;
what cannot be installed on this machine is reported and is no failure. With ``--only`` the other
parts keep their lines in FILE.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book"), str(ROOT)]

import library_wheel  # noqa: E402
from notebook_runs import execute  # noqa: E402
from notebooks import (  # noqa: E402
    EXTRAS,
    book_of,
    install_cell,
    notebook_of,
    pages_of,
    pages_with_notebook,
    source_of,
)

PASSED, FAILED, ABSENT = "passed", "FAILED", "could not be installed"
PARTS = ("files", "versions", "notebooks", "book")


class Check(NamedTuple):
    """One line of the report.

    Attributes:
        what: What was checked.
        outcome: ``"passed"``, ``"FAILED"`` or ``"could not be installed"``.
        seconds: Time of the check.
        note: Versions, or the reason.
    """

    what: str
    outcome: str
    seconds: float
    note: str


def interpreters(lowest: tuple[int, int]) -> dict[str, str]:
    """Find the Pythons of this machine, ``lowest`` or newer, pyenv's too: version → path."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(lowest[1], lowest[1] + 10):
        name = f"python3.{minor}"
        paths = [shutil.which(name), *sorted(map(str, pyenv.glob(f"3.{minor}.*/bin/{name}")))]
        working = [path for path in paths if path and _run([path, "-c", ""]).returncode == 0]
        if working:
            found[f"3.{minor}"] = working[0]
    return found


def torch_bounds() -> dict[str, str]:
    """Return the requirements for the oldest and the newest PyTorch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [line for line in project["dependencies"] if re.match(r"torch\b(?!v)", line)]
    lowest = re.search(r">=\s*([\d.]+)", wanted)[1]
    return {"oldest": f"torch=={lowest}.*", "newest": "torch"}


def check_files(folder: Path) -> Iterator[Check]:
    """Build the wheel and the source archive, and the wheel again from the source archive."""
    start = time.monotonic()
    built = {kind: library_wheel.build(ROOT, folder, kind) for kind in ("wheel", "sdist")}
    for kind, path in built.items():
        note = f"{path.name}, {path.stat().st_size / 1e6:.1f} MB"
        yield Check(f"content of the {kind}", PASSED, time.monotonic() - start, note)
    start = time.monotonic()
    unpacked = folder / "unpacked"
    shutil.unpack_archive(built["sdist"], unpacked, filter="data")
    again = library_wheel.build(next(unpacked.iterdir()), folder / "again")
    same = library_wheel.sha256(again) == library_wheel.sha256(built["wheel"])
    outcome = PASSED if same else FAILED
    yield Check("wheel from the source archive", outcome, time.monotonic() - start, "equal bytes")
    start = time.monotonic()
    for path in built.values():
        run = _run([sys.executable, "-m", "twine", "check", "--strict", str(path)])
        outcome = PASSED if run.returncode == 0 else FAILED
        note = "" if outcome == PASSED else _last(run)
        yield Check(f"twine check of {path.name}", outcome, time.monotonic() - start, note)


def make_environment(folder: Path, python: str, wheel: Path, torch: str, extras: str) -> str:
    """Install the wheel in a new environment; return an empty text, or why it failed."""
    run = _run([python, "-m", "venv", str(folder)])
    if run.returncode:
        return _last(run)
    target = f"{wheel}[{extras}]" if extras else str(wheel)
    packages = [target, torch, *(["ipykernel"] if extras else [])]
    # Compiling all of PyTorch to bytecode takes longer than the checks.
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    run = _run([*pip, *packages])
    return _last(run) if run.returncode else ""


def check_version(
    folder: Path, name: str, python: str, wheel: Path, torch: str, extras: str
) -> Check:
    """Install the wheel with one Python and one PyTorch, and run ``smoke.py``."""
    start = time.monotonic()
    reason = make_environment(folder, python, wheel, torch, extras)
    if reason:
        return Check(name, ABSENT, time.monotonic() - start, reason)
    outside = folder / "outside"
    outside.mkdir()
    script = shutil.copy(Path(__file__).with_name("smoke.py"), outside)
    run = _run([str(folder / "bin" / "python"), script], cwd=outside)
    outcome = PASSED if run.returncode == 0 else FAILED
    return Check(name, outcome, time.monotonic() - start, _last(run))


def check_notebooks(folder: Path, python: str, wheel: Path) -> Iterator[Check]:
    """Execute every notebook at small sizes."""
    book = book_of(ROOT)
    install = install_cell(wheel.name, library_wheel.sha256(wheel))
    for page in pages_with_notebook(pages_of(ROOT)):
        outside = folder / page.stem
        outside.mkdir()
        notebook = notebook_of(source_of(page), book, install)
        outcome = execute(notebook, outside, python=python)
        note = outcome.error.splitlines()[0] if outcome.error else ""
        what = FAILED if outcome.error else PASSED
        yield Check(f"notebook {page.stem}", what, outcome.seconds, note)


def check_book(folder: Path) -> Iterator[Check]:
    """Build the book in a copy of the repository, and again after a change of one sentence.

    As in ``make book``, real images are used where they have been downloaded.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    venv = Path(sys.prefix)
    # The copy's pyproject.toml is newer than the environment, which is ready all the same.
    command = ["make", "-o", str(venv / ".ready"), "book", f"VENV={venv}"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for what in ("book from nothing", "book after a change of one sentence"):
        start = time.monotonic()
        run = _run(command, cwd=folder, env=environment)
        outcome = FAILED if run.returncode else PASSED
        note = _last(run) if run.returncode else f"{os.cpu_count()} processors"
        yield Check(what, outcome, time.monotonic() - start, note)
        with (folder / "book" / "claims.md").open("a") as page:
            page.write("\nOne sentence more.\n")


def checks(parts: list[str], pythons: dict[str, str], folder: Path) -> Iterator[Check]:
    """Run the checks one after another."""
    if "files" in parts:
        yield from check_files(folder)
    if "book" in parts:
        yield from check_book(folder / "book-copy")
    if not {"versions", "notebooks"} & set(parts):
        return
    wheel = library_wheel.build(ROOT, folder)
    ready = ""
    bounds = torch_bounds()
    if "versions" not in parts:
        pythons, bounds = dict([next(iter(pythons.items()))]), {"newest": bounds["newest"]}
    for version, python in pythons.items():
        for age, torch in bounds.items():
            environment = folder / f"{version}-{age}"
            extras = EXTRAS if not ready and age == "newest" and "notebooks" in parts else ""
            name = f"Python {version}, {age} PyTorch"
            check = check_version(environment, name, python, wheel, torch, extras)
            yield check
            if extras and check.outcome == PASSED:
                ready = str(environment / "bin" / "python")
                yield from check_notebooks(folder, ready, wheel)
            shutil.rmtree(environment, ignore_errors=True)  # several GB with CUDA
    if "notebooks" in parts and not ready:
        yield Check("notebooks", FAILED, 0, "no environment could be made for them")


def main() -> int:
    """Run the checks, print a line for each, and store the report if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the report to this JSON file")
    parser.add_argument("--python", nargs="+", help="versions to try, such as 3.11; all by default")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    pythons = interpreters((3, 11))
    if arguments.python:
        unknown = [version for version in arguments.python if version not in pythons]
        if unknown:
            parser.error(
                f"--python {' '.join(unknown)} given, but this machine has {', '.join(pythons)}"
            )
        pythons = {version: pythons[version] for version in arguments.python}
    report = []
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        for check in checks(arguments.only, pythons, Path(folder)):
            report.append(check)
            print(f"{check.outcome:22} {check.seconds:6.0f} s  {check.what:36} {check.note}")
            sys.stdout.flush()
    if arguments.out:
        commit = _run(["git", "rev-parse", "--short", "HEAD"], ROOT).stdout.strip()
        made = {"date": f"{date.today()}", "commit": commit}
        lines = {
            "version": _version(),
            "checks": [
                *kept_lines(arguments.out, arguments.only),
                *({**check._asdict(), **made} for check in report),
            ],
        }
        arguments.out.write_text(json.dumps(lines, indent=1, ensure_ascii=False) + "\n")
    return int(any(check.outcome == FAILED for check in report))


def kept_lines(path: Path, parts: list[str]) -> list[dict]:
    """Return the lines of an earlier report of this version on parts that were not run again."""
    if not path.is_file():
        return []
    earlier = json.loads(path.read_text())
    same = earlier["version"] == _version()
    return [line for line in earlier["checks"] if same and _part(line["what"]) not in parts]


def _part(what: str) -> str:
    """Return the part, one of `PARTS`, to which a check belongs."""
    parts = {
        "Python": "versions", "notebook": "notebooks", "notebooks": "notebooks", "book": "book",
    }  # fmt: skip
    return parts.get(what.split()[0], "files")


def _version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def _run(
    command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def _last(run: subprocess.CompletedProcess) -> str:
    """Return the last line of a command's output, or of its errors if it failed."""
    text = run.stdout + (run.stderr if run.returncode else "")
    text = re.sub(r"\x1b\[\d*m", "", text)  # colours
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    status = f"exit status {run.returncode}" if run.returncode else ""
    return (errors or lines or [status])[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
