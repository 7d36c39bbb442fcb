"""The harness of faults in its short form, and programs with faults that it must find."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccb_lib.chapters.torture import attempts
from tests.torture import processes, report, scenes
from tests.torture.commands import Command, Reference
from tests.torture.processes import Child
from tests.torture.report import Row
from tests.torture.scenes import LATER, Scene, play

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_in_the_short_form():
    words = [sys.executable, "-m", "tests.torture.faults", "--short"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(": 1 of 1") >= 25


# ── programs with faults ──────────────────────────────────────────────────────────────────────────


class Program(Command):
    """A function in place of a command of ``ccb``; it gets the folder that it writes into."""

    def start(self, world, folder, *more, **given):
        return Child(call=lambda: self.words(world, folder), **given)


def written(folder):
    path = folder / "result"
    return path.read_text() if path.is_file() else None


def writes_in_place(world, folder):
    """A kill during the write leaves half a file, which the next start takes for the whole."""
    if written(folder) is None:
        with (folder / "result").open("w") as file:
            file.write("half")
            file.flush()
            time.sleep(1)
            file.write("whole")


def writes_beside(world, folder):
    """A kill during the write leaves the unfinished file for ever."""
    part = folder / f"{os.getpid()}.part"
    part.write_text("half")
    time.sleep(1)
    part.write_text("halfwhole")
    part.replace(folder / "result")


def stops_with_a_traceback(world, folder):
    time.sleep(0.5)
    (folder / "result").write_text("halfwhole")


def never_stops(world, folder):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.5)
    (folder / "result").write_text("halfwhole")
    time.sleep(60)


@pytest.mark.parametrize(
    ("program", "act", "given", "found"),
    [
        (writes_in_place, scenes.killed, (LATER,), "lost"),
        (writes_beside, scenes.killed, (LATER,), "lost"),
        (stops_with_a_traceback, scenes.stopped, (signal.SIGINT,), "foreign_tracebacks"),
        (stops_with_a_traceback, scenes.stopped, (signal.SIGTERM,), "kept"),
        (never_stops, scenes.stopped, (signal.SIGTERM,), "hangs"),
    ],
)
def test_a_fault_of_a_program_is_found(program, act, given, found, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LIMIT", 2.0)
    files = frozenset({"result"})
    undisturbed = Reference(0, "", "halfwhole", files, 0.2, 0.0, 1, 9)
    command = Program("program", program, written, checkpoint="*")
    scene = Scene(command, undisturbed, None, tmp_path / "scene", random.Random(0))
    assert play(scene, act, *given) == found, scene.problems


# ── the report ────────────────────────────────────────────────────────────────────────────────────


def test_totals_and_exit_status_are_those_of_the_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(report.totals, "__defaults__", (report.NAMES, tmp_path))
    assert report.main([]) == 1  # nothing was tried
    row = Row("ccb train", "SIGKILL", tried=5, kept=5)
    report.write("faults", [row], 61.0, tmp_path)
    assert report.main([]) == 0
    assert "5 attempts: lost 0, foreign tracebacks 0, hangs 0" in capsys.readouterr().out
    report.write("inputs", [dataclasses.replace(row, tried=4, kept=3, hangs=1)], 1.0, tmp_path)
    assert report.main([]) == 1
    assert "9 attempts: lost 0, foreign tracebacks 0, hangs 1" in capsys.readouterr().out
    assert report.main(["faults"]) == 0


def test_the_page_shows_the_counts_of_the_report(tmp_path):
    rows = [Row("a<b", "SIGKILL", tried=1200, kept=1199, lost=1), Row("c", "d", not_run="no tmpfs")]
    path = report.write("faults", rows, 90.0, tmp_path)
    shown = attempts("faults", tmp_path)
    caption = "1,200 attempts: 1 lost, 0 tracebacks, 0 hangs. Made on "
    assert shown.caption.startswith(caption)
    assert "in 2 minutes on " in shown.caption
    assert "a&lt;b" in shown.to_html()
    assert shown.data.to_numpy().tolist() == [
        ["a<b", "SIGKILL", "1,200", "1,199", "1", "0", "0"],
        ["c", "d", "not run: no tmpfs", "–", "–", "–", "–"],
    ]
    assert attempts("inputs", tmp_path).data == "Not run."
    path.write_text(json.dumps({"rows": [{}]}))
    with pytest.raises(ValueError, match="is not a report of make torture"):
        attempts("faults", tmp_path)
