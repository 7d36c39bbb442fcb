"""The project's own data: found in a checkout, carried by the wheel, named where they are
missing."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ccb_lib.io import project_data as module
from ccb_lib.io.project_data import NAMES, project_data

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkout_reads_its_own_folder(name):
    assert project_data(name) == ROOT / "data" / name


def test_a_wheel_carries_all_data_and_no_unfinished_run(tmp_path):
    """An installed package reads its own copy, with no repository beside it."""
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
    unfinished = ROOT / "data" / "results" / ".test.runs"
    unfinished.mkdir()
    try:
        (unfinished / "run.safetensors").write_bytes(b"half")
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    finally:
        (unfinished / "run.safetensors").unlink(missing_ok=True)
        unfinished.rmdir()
    site = tmp_path / "site"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    for name in NAMES:
        own = {
            file.name for file in (ROOT / "data" / name).iterdir() if not file.name.startswith(".")
        }
        assert {file.name for file in (site / "ccb_lib" / "data" / name).iterdir()} == own
    code = (
        "import ccb_lib; from ccb_lib.io.project_data import project_data; "
        "from ccb_lib.reproduction.runs import results_folder; "
        "print(ccb_lib.__file__, project_data('paper'), results_folder(), "
        "ccb_lib.reported(1).shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    package = site / "ccb_lib"
    expected = f"{package}/__init__.py {package}/data/paper {package}/data/results (5, 10)"
    assert run.stdout.strip() == expected
    (package / "data" / "results" / "table1.safetensors").unlink()
    lost = subprocess.run(
        [sys.executable, "-c", "from ccb_lib.reproduction.results import load_results as r; r(1)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert lost.returncode == 1
    assert "results lacks table1.safetensors. Reinstall ccb_lib" in lost.stderr


def test_missing_data_and_unknown_names_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "ccb_lib" / "io" / "project_data.py"))
    with pytest.raises(FileNotFoundError, match="data/paper"):
        project_data("paper")
    with pytest.raises(ValueError, match="'raw' given; one of"):
        project_data("raw")
