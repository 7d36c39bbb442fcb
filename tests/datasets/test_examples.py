"""The examples that chapters show: made the same each time, and in the forms they promise."""

import csv

import numpy as np
import pytest
from PIL import Image

from ccb_lib import load_dataset
from ccb_lib.datasets import folder, ild
from ccb_lib.datasets.examples.folder import DOT_GREY, write_folder
from ccb_lib.datasets.examples.ild import write_database


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", abnormal=8)


def test_a_folder_holds_the_images_of_its_split(tmp_path, digits):
    root = write_folder(tmp_path, digits, train=40, test=8)
    read = folder.load(root=root, abnormal="abnormal")
    known = {image.numpy().tobytes() for image in digits.train}
    assert len(read.train) + len(read.calibration) == 40
    assert {image.numpy().tobytes() for image in read.train} <= known
    abnormal = {image.numpy().tobytes() for image in digits.test[digits.test_labels]}
    assert {image.numpy().tobytes() for image in read.test[read.test_labels]} <= abnormal
    rows = list(csv.DictReader((root / "labels.csv").read_text().splitlines()))
    assert len(rows) == 40 + 3 * 8
    assert all((root / row["path"]).is_file() for row in rows)
    assert {row["label"] for row in rows} == {"normal", "abnormal", "dotted"}


def test_a_dotted_image_differs_from_the_normal_one_in_a_dot_alone(tmp_path, digits):
    root = write_folder(tmp_path, digits, train=4, test=8)
    for number in range(8):
        plain, dotted = (
            np.asarray(Image.open(root / f"test/{kind}/{number:03d}.png"))
            for kind in ("normal", "dotted")
        )
        changed = plain != dotted
        assert 0 < changed.sum() <= 21  # whole pixels within 2.5 of a pixel's centre
        assert (dotted[changed] == DOT_GREY).all()


def test_folders_are_the_same_each_time(tmp_path, digits):
    one, two = (write_folder(tmp_path / name, digits, train=8, test=4) for name in "12")
    for path in sorted(one.rglob("*.*")):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_a_database_holds_each_disease_and_differs_by_seed(tmp_path):
    root = write_database(tmp_path / "1", size=160, patients=8, slices=1)
    images = ild.read(root)
    assert set(images.classes) == {"healthy", *ild.PAPER_CLASSES}
    assert images.skipped == ()
    again = ild.read(write_database(tmp_path / "2", size=160, patients=8, slices=1))
    other = ild.read(write_database(tmp_path / "3", size=160, patients=8, slices=1, seed=1))
    assert (images.pixels == again.pixels).all()
    assert (images.pixels != other.pixels).any()
