"""The command `ccb` where something is wrong: it says what, in one message, and spoils nothing."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ccb_lib import load_detector
from ccb_lib.cli.group import main


def ccb(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def make_images(folder, count, seed, bright=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for k in range(count):
        pixels = rng.normal(rng.normal(90 + bright, 10), 10, (32, 32)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k:02d}.png")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    make_images(root / "train/normal", 200, seed=0)
    make_images(root / "test/normal", 4, seed=1)
    make_images(root / "test/abnormal", 4, seed=2, bright=100)
    return root


@pytest.fixture(scope="module")
def model(own, tmp_path_factory):
    """A detector that needs no training: tests here are about files."""
    out = tmp_path_factory.mktemp("model") / "m.safetensors"
    words = [
        "train",
        "folder",
        "--root",
        own,
        "--abnormal",
        "abnormal",
        "--method",
        "mean-intensity",
    ]
    result = ccb(*words, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def refused(result, *said):
    """One message, exit status 1 or 2, no traceback."""
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for words in said:
        assert words in result.output


# ── what may be written over ──────────────────────────────────────────────────────────────────────


def test_force_replaces_files_alone(model, own, tmp_path):
    pipe = tmp_path / "s.csv"
    os.mkfifo(pipe)
    result = ccb("score", model, own / "test/normal", "--out", pipe, "--force")
    refused(result, f"{pipe} is a device, a pipe or a socket, not a file")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_force_keeps_the_permissions_of_the_file(model, own, tmp_path):
    out = tmp_path / "s.csv"
    out.write_text("old")
    out.chmod(0o600)
    assert ccb("score", model, own / "test/normal", "--out", out, "--force").exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_full_disk_is_named(model, own, tmp_path, no_file_above):
    with no_file_above(100):
        result = ccb("score", model, own / "test/normal", "--out", tmp_path / "s.csv")
    refused(result, f"Cannot write {tmp_path / 's.csv'}: File too large.")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_heatmaps_that_cannot_be_made_is_named(model, own, tmp_path, monkeypatch):
    def no(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", no)  # root may write into any folder
    maps = ["--heatmaps", tmp_path / "maps"]
    result = ccb("score", model, own / "test/normal", "--out", tmp_path / "s.csv", *maps)
    refused(result, "Permission denied. Choose a folder that you may write to.")


# ── what is read ──────────────────────────────────────────────────────────────────────────────────


def test_pipes_and_links_to_nothing_in_a_folder_are_named_and_left_out(model, tmp_path):
    make_images(tmp_path / "in", 2, seed=3)
    os.mkfifo(tmp_path / "in/pipe")  # opening it would wait for ever
    os.mkfifo(tmp_path / "in/pipe.png")
    (tmp_path / "in/nothing.png").symlink_to("nowhere")
    result = ccb("score", model, tmp_path / "in", "--out", tmp_path / "s.csv")
    assert result.exit_code == 0, result.output
    assert "3 entries in" in result.output
    assert "are left out: nothing.png, pipe, pipe.png" in result.output
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 3


def test_a_pipe_that_is_given_by_name_is_unreadable(model, own, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    result = ccb(
        "score", model, tmp_path / "pipe", own / "test/normal/00.png", "--out", tmp_path / "s.csv"
    )
    refused(result, "a folder, a pipe, a device or a socket, not a file")
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert "unreadable" in lines[1]
    assert "normal" in lines[2]


def test_line_breaks_in_names_stay_in_their_line(model, tmp_path):
    make_images(tmp_path / "in", 1, seed=3)
    (tmp_path / "in/00.png").rename(tmp_path / "in/a\nb\r\x1b.png")
    assert ccb("score", model, tmp_path / "in", "--out", tmp_path / "s.csv").exit_code == 0
    lines = (tmp_path / "s.csv").read_text().split("\n")
    assert len(lines) == 3  # the last is empty
    assert "a\\nb\\r\\x1b.png" in lines[1]


# ── likely mistakes ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table", 1, "--limit", -5], "'--limit': -5 is not in the range x>=1"),
        (["table", 1, "--seeds", -1], "'--seeds': -1 is not in the range x>=1"),
        (["table", 1, "--parallel", 0], "'--parallel': 0 is not in the range x>=1"),
        (["table", 1, "--epochs", 0], "'--epochs': 0 is not in the range x>=1"),
        (["table", 1, "--results", __file__], "is a file"),
        (["study", "skips", "--results", __file__], "is a file"),
        (["measure", "--results", __file__], "is a file"),
    ],
)
def test_numbers_and_folders_that_cannot_be_meant_are_named(words, said):
    refused(ccb(*words), said)


def test_a_detector_is_not_saved_as_a_folder(own, tmp_path):
    words = [
        "train",
        "folder",
        "--root",
        own,
        "--abnormal",
        "abnormal",
        "--method",
        "mean-intensity",
    ]
    refused(ccb(*words, "--out", tmp_path), f"'{tmp_path}' is a directory")


def test_the_window_is_named_as_its_option(model, tmp_path):
    Image.fromarray(np.full((32, 32), 200, dtype=np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.full((32, 32), 0.5, dtype=np.float32)).save(tmp_path / "a.tif")
    result = ccb("score", model, tmp_path / "a.png", "--out", tmp_path / "s.csv")
    assert "pass --window 0 4095" in result.output
    result = ccb("score", model, tmp_path / "a.tif", "--out", tmp_path / "t.csv")
    assert "Pass --window low high" in result.output
    result = ccb("score", model, tmp_path / "a.tif", "--out", tmp_path / "u.csv", "--window", 5, 1)
    refused(result, "--window 5 1 given", "--window -1000 400")


def test_a_reader_that_goes_ends_the_command_quietly():
    listing = f"{sys.executable} -m ccb_lib data list"
    result = subprocess.run(
        ["bash", "-c", f"{listing} | head -1; {listing} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert result.stdout.startswith("digits\n")


def test_bars_are_silent_without_a_terminal(made_cifar):
    command = [
        sys.executable,
        "-m",
        "ccb_lib",
        "data",
        "check",
        "cifar10",
        "--root",
        str(made_cifar),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "decoding" not in result.stderr


# ── normal images alone ───────────────────────────────────────────────────────────────────────────


def test_normal_images_alone_train_calibrate_and_save(own, tmp_path):
    root = tmp_path / "mine"
    shutil.copytree(own / "train", root / "train")
    small = ["--epochs", 2, "--width", 2, "--device", "cpu"]
    result = ccb("train", "folder", "--root", root, "--out", tmp_path / "m.safetensors", *small)
    assert result.exit_code == 0, result.output
    assert "AUC" not in result.output
    assert "no abnormal images to test on" in result.output
    detector = load_detector(tmp_path / "m.safetensors")
    assert len(detector.calibration_scores_) == 20
    assert np.isfinite(detector.threshold_)
    result = ccb(
        "score", tmp_path / "m.safetensors", own / "test/abnormal", "--out", tmp_path / "s.csv"
    )
    assert "of 4 images" in result.output
    result = ccb("data", "check", "folder", "--root", root)
    assert result.exit_code == 0
    assert "can be trained and calibrated, not tested" in result.output


def test_a_class_that_is_not_there_is_still_refused(own, tmp_path):
    root = tmp_path / "mine"
    shutil.copytree(own / "train", root / "train")
    result = ccb(
        "train",
        "folder",
        "--root",
        root,
        "--abnormal",
        "crack",
        "--out",
        tmp_path / "m.safetensors",
    )
    refused(result, "test/abnormal are needed")


# ── verdicts that mean nothing ────────────────────────────────────────────────────────────────────


def test_images_of_another_source_are_announced(model, own, tmp_path):
    make_images(tmp_path / "bright", 100, seed=5, bright=120)
    result = ccb("score", model, tmp_path / "bright", "--out", tmp_path / "s.csv")
    assert result.exit_code == 0
    assert (
        "100 of 100 images are called abnormal (100%, 95 % confidence interval 96% to 100%)"
        in result.output
    )
    assert "Warning: " in result.output
    assert "Recalibrate" in result.output
    make_images(tmp_path / "alike", 100, seed=6)
    result = ccb(
        "score", model, tmp_path / "alike", own / "test/abnormal", "--out", tmp_path / "t.csv"
    )
    assert "of 104 images are called abnormal" in result.output
    assert "Warning" not in result.output


# ── being stopped ─────────────────────────────────────────────────────────────────────────────────


def stopped(words, until):
    """Start ``ccb``, send SIGTERM once ``until()`` holds, and return exit status and output."""
    command = [sys.executable, "-m", "ccb_lib", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        end = time.monotonic() + 120
        while not until() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output


def test_sigterm_ends_training_as_ctrl_c_does(own, tmp_path):
    out, checkpoint = tmp_path / "m.safetensors", tmp_path / "m.checkpoint.safetensors"
    small = ["--width", 2, "--epochs", 100_000, "--device", "cpu"]
    words = ["train", "folder", "--root", own, "--abnormal", "abnormal", "--out", out, *small]
    status, output = stopped(words, checkpoint.exists)
    assert status == 130
    assert f"The epochs done are kept in {checkpoint}" in output
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


def test_sigterm_ends_parallel_runs_at_once(made_cifar, tmp_path):
    small = ["--width", 2, "--epochs", 100_000, "--limit", 64, "--device", "cpu", "--parallel", 2]
    chosen = ["--method", "ccb", "--abnormal", "cat", "--root", made_cifar]
    words = ["table", 1, "--run", *small, *chosen, "--results", tmp_path]
    status, output = stopped(words, lambda: list(tmp_path.glob(".table1.runs/*.safetensors")))
    assert status == 130, output
    assert "Stopped.\n" in output
