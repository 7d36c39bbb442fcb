"""The command `ccb measure` on a small plan and small made images."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock

from ccb_lib.cli.group import main
from ccb_lib.evaluation.epochs import EpochScores
from ccb_lib.reproduction.plan import read_plan, state_of
from ccb_lib.reproduction.runs import store_path
from ccb_lib.reproduction.store import Store
from ccb_lib.reproduction.watch import TimeUp, Watch

pytestmark = pytest.mark.filterwarnings("ignore:CIFAR-10 in .* not 60,000")
ROOT = Path(__file__).parents[2]

PLAN = """
[[entry]]
name = "networks"
why = "a network on two classes"
must = true
table = 1
methods = ["ccb"]
classes = ["airplane", "frog"]
seeds = [0]
epochs = 3
width = 2
limit = 64

[[entry]]
name = "simple"
why = "a score without a network"
table = 1
methods = ["pca"]
classes = ["frog"]
seeds = [0]
limit = 64
"""


@pytest.fixture(autouse=True)
def ordinary_priority(monkeypatch):
    """The tests' own process keeps its priority."""
    monkeypatch.setattr(os, "nice", lambda by: by, raising=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def ccb(made_cifar):
    def call(folder, *words):
        words = ["measure", "--results", folder, "--root", made_cifar, "--device", "cpu", *words]
        return CliRunner().invoke(main, [str(word) for word in words])

    return call


@pytest.fixture(scope="module")
def whole(made_cifar, tmp_path_factory):
    """All of the plan, worked off without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "plan.toml").write_text(PLAN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "nice", lambda by: by, raising=False)
        words = ["measure", "--results", str(folder), "--root", str(made_cifar), "--device", "cpu"]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return folder, result.output


def results(folder):
    return Store.read(store_path(1, folder)).results


def equal(a, b):
    assert a.keys() == b.keys()
    for key, result in a.items():
        other = b[key]
        assert result.aucs == other.aucs
        assert result.scored.keys() == other.scored.keys()
        for name, found in result.scored.items():
            # Recomputed statistics may be rounded otherwise in the last digit; all else is equal
            # in bits.
            tolerance = {"rtol": 1e-6} if "recomputed" in name else {"rtol": 0}
            for term, values in found.test._asdict().items():
                np.testing.assert_allclose(
                    values, getattr(other.scored[name].test, term), err_msg=name, **tolerance
                )
    return True


def test_all_is_worked_off_once(whole, ccb):
    folder, output = whole
    assert len(results(folder)) == 3
    assert "works on the CPU at low priority (nice 10)" in output
    order = re.findall(r"(?:ccb|pca) \w+ seed 0: begins", output)
    assert order == [
        "ccb airplane seed 0: begins",
        "ccb frog seed 0: begins",
        "pca frog seed 0: begins",
    ]
    assert "All runs are done." in output
    stamp = store_path(1, folder).stat().st_mtime_ns
    again = ccb(folder)
    assert again.exit_code == 0
    assert "networks: 2 of 2 runs done" in again.output
    assert "begins" not in again.output
    assert store_path(1, folder).stat().st_mtime_ns == stamp
    assert not list(folder.glob(".table1.runs/*"))  # what is stored needs no checkpoint


def test_a_stop_at_any_epoch_and_going_on_give_the_same_scores(whole, folder, ccb, monkeypatch):
    """The time is up after one epoch, again and again."""

    def one_epoch(self, run):
        progress = self.at_work[run.key]
        progress.step += 1
        progress.seen = getattr(progress, "seen", progress.epoch)
        if progress.epoch > progress.seen:
            self.reason = f"Stopped after epoch {progress.epoch}."
            raise TimeUp(self.reason)

    monkeypatch.setattr(Watch, "after_step", one_epoch)
    outputs = []
    for _ in range(10):
        outputs.append(ccb(folder, "--hours", "1"))
        assert outputs[-1].exit_code == 0, outputs[-1].output
        if "All runs are done." in outputs[-1].output:
            break
    assert (
        len(outputs) == 5
    )  # a run of three epochs is stopped after its first and after its second
    assert "resumes after epoch 2 of 3" in outputs[2].output
    assert "Failed" not in "".join(result.output for result in outputs)
    assert equal(results(folder), results(whole[0]))


def test_no_time_runs_nothing_and_is_no_failure(folder, ccb):
    result = ccb(folder, "--hours", "0")
    assert result.exit_code == 0
    assert "The time is up." in result.output
    assert "begins" not in result.output
    assert not results(folder)


def test_work_that_outlasts_the_time_is_interrupted(folder, ccb, monkeypatch):
    """What takes no steps, such as a long scoring, is stopped as well."""
    monkeypatch.setattr("ccb_lib.reproduction.watch.GRACE", 0.2)

    def scores_for_a_minute(*_):
        for _ in range(6000):
            time.sleep(0.01)

    monkeypatch.setattr(EpochScores, "__call__", scores_for_a_minute)
    begun = time.monotonic()
    result = ccb(folder, "--hours", 1 / 3600, "--only", "networks")
    assert time.monotonic() - begun < 40
    assert result.exit_code == 0, result.output
    assert "resumes it from its checkpoint" in result.output


def test_a_line_a_minute_where_there_is_no_terminal(folder, ccb, monkeypatch):
    real = Watch.__init__
    asked = []

    def quick(self, *args, every, **given):
        asked.append(every)
        real(self, *args, every=0.05, **given)

    monkeypatch.setattr(Watch, "__init__", quick)
    original = EpochScores.__call__
    monkeypatch.setattr(EpochScores, "__call__", lambda *a: (time.sleep(0.3), original(*a))[1])
    result = ccb(folder, "--only", "networks")
    assert asked == [60.0]
    assert re.search(r"\d\d:\d\d cifar10 ccb airplane seed 0: epoch 1 of 3, scoring", result.output)


def test_a_failure_is_named_and_the_others_go_on(folder, ccb, monkeypatch):
    original = EpochScores.__call__

    def fails_on_airplanes(self, detector, epoch, shared):
        if "airplane" in self.split.test_classes[self.split.test_labels]:
            raise ValueError("no wings")
        original(self, detector, epoch, shared)

    monkeypatch.setattr(EpochScores, "__call__", fails_on_airplanes)
    result = ccb(folder)
    assert result.exit_code == 1
    assert "Failed: cifar10 ccb airplane seed 0: ValueError: no wings" in result.output
    assert "All other runs are done." in result.output
    assert len(results(folder)) == 2


def test_a_dry_run_lists_and_runs_nothing(folder, whole, ccb, monkeypatch):
    result = ccb(folder, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert re.fullmatch(r"networks  must     0        2  \d+\.\d \(\d+\.\d\)", lines[1])
    assert lines[2].startswith("simple             0        1  0.0")
    assert re.match(r"Hours left: \d+\.\d, of which musts \d+\.\d\.", lines[3])
    assert "2 kinds of run" in lines[4]
    assert not list(folder.glob("*.safetensors"))
    done = ccb(whole[0], "--dry-run")
    assert re.search(r"networks  must     2        0  –", done.output)
    assert "Estimated" not in done.output


def test_a_dry_run_without_images_says_what_is_unknown(folder, ccb, tmp_path):
    (tmp_path / "empty").mkdir()
    result = ccb(folder, "--dry-run", "--root", tmp_path / "empty")
    assert result.exit_code == 0, result.output
    assert "unknown" in result.output
    assert "Unknown: " in result.output


def test_stored_runs_that_lack_a_protocol_are_reported(folder, whole, ccb):
    (entry, _) = read_plan(folder / "plan.toml")
    store = Store(store_path(1, folder))
    for key, result in results(whole[0]).items():
        scored = {name: found for name, found in result.scored.items() if "natural" in name}
        store.results[key] = replace(result, scored=scored)
    store.add()
    assert len(state_of(entry, folder=folder).without_scores) == 2
    for words in (["--dry-run"], []):
        result = ccb(folder, *words)
        assert result.exit_code == 0
        assert re.search(
            r"Stored without scores under .*released.*: cifar10 ccb airplane seed 0", result.output
        )


def test_results_of_two_machines_merge(whole, folder, tmp_path, ccb):
    everything = results(whole[0])
    for number, key in enumerate(everything):
        part = Store(store_path(1, tmp_path / f"machine{number % 2}"))
        part.add(everything[key])
    for number, new in ((0, 2), (1, 1), (1, 0)):
        result = ccb(folder, "--merge", tmp_path / f"machine{number}")
        assert result.exit_code == 0, result.output
        assert f"{new} runs added" in result.output
    assert equal(results(folder), everything)
    file = store_path(1, tmp_path / "machine0")
    assert "0 runs added" in ccb(folder, "--merge", file).output
    (tmp_path / "mine.safetensors").write_bytes(file.read_bytes())
    refused = ccb(folder, "--merge", tmp_path / "mine.safetensors")
    assert refused.exit_code == 1
    assert "mine.safetensors given; the file's name says what it holds" in refused.output
    (tmp_path / "empty").mkdir()
    assert "No results in" in ccb(folder, "--merge", tmp_path / "empty").output


def test_one_process_at_a_time_works_at_a_folder(folder, ccb):
    with FileLock(folder / ".measure.lock"):
        result = ccb(folder)
    assert result.exit_code == 1
    assert "Another `ccb measure` works at" in result.output


def test_an_unknown_entry_is_refused(folder, ccb):
    result = ccb(folder, "--only", "nothing")
    assert result.exit_code == 2
    assert "nothing is no entry; there are networks, simple" in result.output


@pytest.mark.skipif(os.name != "posix", reason="stops a process by signal")
def test_sigterm_stops_it_and_keeps_the_epochs_done(folder, made_cifar):
    plan = PLAN.replace("epochs = 3", "epochs = 400")
    (folder / "plan.toml").write_text(plan)
    words = [
        "measure",
        "--only",
        "networks",
        "--results",
        folder,
        "--root",
        made_cifar,
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "ccb_lib", *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    (entry, _) = read_plan(folder / "plan.toml")
    checkpoint = folder / f".table1.runs/{entry.runs()[0].key}.safetensors"
    until = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Stopped." in output
    assert "Traceback" not in output
    (epochs,) = state_of(entry, folder=folder).under_way.values()
    assert 1 <= epochs < 400
