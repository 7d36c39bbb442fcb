"""What chapters lean on: a place for files, whether data is here, and the command."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click import Group

from ccb_lib.chapters import helpers as chapters
from ccb_lib.chapters.helpers import ccb, chapter_folder, dataset_dir_or_none
from ccb_lib.cli.group import main
from ccb_lib.datasets import load_dataset
from ccb_lib.detectors.simple_baselines import MeanIntensity


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("CCB_MODELS", str(tmp_path / "build/models"))
    return tmp_path


def test_a_workplace_is_empty_each_time(models):
    folder = chapter_folder("one")
    assert folder == models / "build/chapters/one"
    (folder / "old.txt").write_text("x")
    assert list(chapter_folder("one").iterdir()) == []


def test_data_is_here_or_not(tmp_path, monkeypatch):
    (tmp_path / "ham10000").mkdir()
    monkeypatch.setenv("CCB_DATA", str(tmp_path))
    assert dataset_dir_or_none("ham10000") == tmp_path / "ham10000"
    assert dataset_dir_or_none("ild") is None
    monkeypatch.setenv("CCB_DATA", str(tmp_path / "none"))
    assert dataset_dir_or_none("ham10000") is None


def test_the_command_runs_in_a_folder_and_shows_itself(tmp_path, capsys):
    (tmp_path / "train/normal").mkdir(parents=True)
    ccb("data check folder --root .", tmp_path)
    output = capsys.readouterr().out
    assert output.startswith("$ ccb data check folder --root .\nfolder in ")
    assert "missing: images in train/normal" in output


def test_an_error_of_its_own_is_not_hidden(tmp_path, monkeypatch):
    def broken(self, ctx):
        raise ZeroDivisionError

    assert isinstance(main, Group)
    monkeypatch.setattr(type(main), "invoke", broken)
    with pytest.raises(RuntimeError, match="failed"):
        chapters.ccb("data list", tmp_path)


def test_of_several_pages_that_need_a_detector_one_trains_it(monkeypatch):
    fits, fit = [], MeanIntensity.fit

    def slow_fit(self, *given, **options):
        fits.append(threading.get_ident())
        time.sleep(0.3)
        return fit(self, *given, **options)

    monkeypatch.setattr(MeanIntensity, "fit", slow_fit)
    split = load_dataset("digits", abnormal=8)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: chapters.trained(MeanIntensity(), split), range(3)))
    assert len(fits) == 1
    assert len({detector.threshold_ for detector in found}) == 1
