"""The files of a release agree, and the checks of `make release` do what they say."""

import json
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import release
import yaml

import ccb_lib

ROOT = Path(__file__).parents[2]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
# Required by the schema of the Citation File Format 1.2.0.
REQUIRED = {"cff-version", "message", "title", "authors"}


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## ([\d.]+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = {project["version"], ccb_lib.__version__, str(CITATION["version"]), newest[1]}
    assert len(versions) == 1
    assert str(CITATION["date-released"]) == newest[2]


def test_the_citation_is_valid():
    assert set(CITATION) >= REQUIRED
    assert CITATION["cff-version"] == "1.2.0"
    assert isinstance(CITATION["date-released"], date)
    assert CITATION["license"] == "MIT"
    for work in (CITATION, *CITATION["references"]):
        assert work["title"]
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    assert all({"type", "title", "authors"} <= set(work) for work in CITATION["references"])
    if "doi" in CITATION:
        assert re.fullmatch(r"10\.\d{4,}/\S+", CITATION["doi"])


def test_the_bounds_of_pytorch_are_those_of_the_project():
    bounds = release.torch_bounds()
    assert re.fullmatch(r"torch==\d+\.\d+\.\*", bounds["oldest"])
    assert f"torch>={bounds['oldest'][7:-2]}" in (ROOT / "pyproject.toml").read_text()
    assert bounds["newest"] == "torch"


def test_interpreters_that_do_not_start_are_left_out(tmp_path, monkeypatch):
    own, broken = tmp_path / "python3.11", tmp_path / "python3.12"
    own.symlink_to(sys.executable)
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    pyenv = tmp_path / "pyenv" / "versions" / "3.13.0" / "bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python3.13").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert release.interpreters((3, 11)) == {"3.11": str(own), "3.13": str(pyenv / "python3.13")}


def test_what_cannot_be_installed_is_reported_and_does_not_fail(tmp_path, monkeypatch):
    missing = release.check_version(tmp_path / "a", "x", "/bin/false", Path("w.whl"), "torch", "")
    assert missing.outcome == release.ABSENT
    fails = release.Check("x", release.FAILED, 1.0, "why")
    for found, code in (([missing], 0), ([missing, fails], 1)):
        monkeypatch.setattr(release, "checks", lambda *_, found=found: iter(found))
        monkeypatch.setattr(sys, "argv", ["release", "--out", str(tmp_path / "report.json")])
        assert release.main() == code
    assert '"outcome": "FAILED"' in (tmp_path / "report.json").read_text()


def test_an_unknown_python_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["release", "--python", "2.7"])
    with pytest.raises(SystemExit):
        release.main()
    assert "--python 2.7 given, but this machine has" in capsys.readouterr().err


def test_parts_that_were_not_run_again_keep_their_lines(tmp_path, monkeypatch):
    out = tmp_path / "report.json"
    runs = (
        ([], [("book from nothing", 1.0), ("Python 3.11, oldest PyTorch", 2.0)]),
        (["--only", "book"], [("book from nothing", 3.0)]),
    )
    for words, found in runs:
        checks = [release.Check(what, release.PASSED, seconds, "") for what, seconds in found]
        monkeypatch.setattr(release, "checks", lambda *_, checks=checks: iter(checks))
        monkeypatch.setattr(sys, "argv", ["release", "--out", str(out), *words])
        assert release.main() == 0
    lines = json.loads(out.read_text())["checks"]
    assert [(line["what"], line["seconds"]) for line in lines] == [
        ("Python 3.11, oldest PyTorch", 2.0),
        ("book from nothing", 3.0),
    ]
    assert all(line["date"] and line["commit"] for line in lines)
