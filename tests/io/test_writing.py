"""Files are written whole or not at all; what a killed process left is deleted, nothing else."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch

from ccb_lib.io import writing
from ccb_lib.io.tensors import save_tensors
from ccb_lib.io.writing import locked, replacing, temporary_folder


def write(path, text="new"):
    with replacing(path) as part:
        part.write_text(text)


# ── what may be replaced ──────────────────────────────────────────────────────────────────────────


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")

    def interrupted():
        with replacing(file) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_there_keeps_its_permissions(tmp_path, mode):
    file = tmp_path / "x"
    file.write_text("old")
    file.chmod(mode)
    write(file)
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_a_plain_one(tmp_path):
    (tmp_path / "plain").write_text("")
    save_tensors(tmp_path / "tensors", {"a": torch.ones(2)}, {})
    assert (tmp_path / "tensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_of_a_link_the_file_that_it_names_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    write(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "new"


def test_what_is_no_file_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (pipe, tmp_path / "null"):
        with pytest.raises(OSError, match="is a device, a pipe or a socket, not a file"):
            write(path)
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Give the name of a file"):
        write(tmp_path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    assert len(list(tmp_path.iterdir())) == 2


# ── failures ──────────────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_is_named_with_the_file(tmp_path, no_file_above):
    file = tmp_path / "x.safetensors"
    file.write_text("old")
    with (
        no_file_above(1000),
        pytest.raises(OSError, match=r"Cannot write .*x\.safetensors: .*Free some"),
    ):
        save_tensors(file, {"a": torch.zeros(1000)}, {})
    with (
        no_file_above(1000),
        pytest.raises(OSError, match=r"Cannot write .*x.*too large.*choose another"),
    ):
        write(file, "a" * 2000)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Cannot write .*file/x.*may write to"):
        write(tmp_path / "file" / "x")
    with pytest.raises(OSError, match=r"Cannot write .*File name too long"):
        write(tmp_path / ("x" * 300))
    with replacing(tmp_path / ("x" * 255)) as part:  # as long as names may be
        part.write_text("")


@pytest.mark.parametrize("refused", ["mkdir", "open"])
def test_a_read_only_folder_is_named(tmp_path, monkeypatch, refused):
    def no(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(writing.os, refused, no)  # root may write into any folder
    with pytest.raises(OSError, match=r"Cannot write .*x: Permission denied\..*may write to"):
        write(tmp_path / "x")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_errors_about_other_files_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"), replacing(tmp_path / "x"):
        (tmp_path / "missing").read_text()


# ── what killed processes leave ───────────────────────────────────────────────────────────────────

_WRITER = """
import sys, time
from pathlib import Path
from ccb_lib.io.writing import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the midst of writing."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    writing._swept.clear()  # as in a process that just started
    yield process
    process.kill()
    process.wait()


def test_the_folder_of_a_killed_writer_is_deleted_by_the_next(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 1
    write(tmp_path / "y")
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_the_folder_of_a_writer_that_runs_is_kept_however_old(tmp_path, writer):
    (folder,) = tmp_path.iterdir()
    for path in (*folder.iterdir(), folder):
        os.utime(path, (0, 0))
    write(tmp_path / "y")
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "y"}
    assert {path.name for path in folder.iterdir()} == {"lock", "new"}


@pytest.mark.parametrize(("age", "kept"), [(3600, True), (25 * 3600, False)])
def test_the_folder_of_another_machine_is_deleted_after_a_day(tmp_path, age, kept):
    writing._swept.clear()
    folder = tmp_path / ".x.abcdefgh.00000000.ccb.part"
    folder.mkdir()
    (folder / "new").write_text("half")
    (folder / "lock").write_text("")
    os.utime(folder, (time.time() - age,) * 2)
    write(tmp_path / "y")
    assert folder.exists() == kept


def test_files_of_other_programs_and_links_are_never_deleted(tmp_path):
    writing._swept.clear()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").write_text("")
    (tmp_path / f".x.abcdefgh.{writing._HOST}.ccb.part").symlink_to(tmp_path / "elsewhere")
    for name in (".x.abcdefgh.part", "film.part", ".x.ccb.part"):
        (tmp_path / name).write_text("")
    before = sorted(tmp_path.rglob("*"))
    write(tmp_path / "y")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "y"])


def test_a_folder_swept_before_it_has_a_lock_is_made_anew(tmp_path, monkeypatch):
    """Between the making of a folder and its lock another process may take it for one left
    behind."""
    real, opened = os.open, []

    def swept_once(path, *given):
        opened.append(path)
        if len(opened) == 1:
            path.parent.rmdir()
        return real(path, *given)

    monkeypatch.setattr(writing.os, "open", swept_once)
    with temporary_folder(tmp_path, "x") as folder:
        assert opened == [folder / "lock"] * 2
    assert not list(tmp_path.iterdir())


def test_ctrl_c_at_any_line_leaves_no_folder(tmp_path):
    """An interrupt at each line of the code that makes, yields and deletes the folder."""
    lines = 0

    def interrupted_at(number):
        reached = 0

        def trace(frame, event, arg):
            nonlocal reached
            if frame.f_code.co_filename != writing.__file__:
                return None
            if event == "line":
                reached += 1
                if reached == number:
                    raise KeyboardInterrupt
            return trace

        writing._swept.clear()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            write(tmp_path / "x")
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    while interrupted_at(lines + 1):
        lines += 1
        assert {path.name for path in tmp_path.iterdir()} <= {"x"}, f"line {lines}"
    assert lines > 50
    assert (tmp_path / "x").read_text() == "new"


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_lock_is_held_by_one_process_and_released(tmp_path):
    path = tmp_path / "new" / "x.lock"
    with locked(path), pytest.raises(RuntimeError, match="in use"), locked(path, "in use"):
        pass
    with locked(path, "in use"):
        pass


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"Cannot write .*x\.lock.*may write to"),
        locked(tmp_path / "file" / "x.lock"),
    ):
        pass
