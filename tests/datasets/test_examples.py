"""The examples that chapters show: made the same each time, and in the forms they promise."""

import csv

import numpy as np
from PIL import Image, ImageOps

from ccb_lib.datasets import folder, ild
from ccb_lib.datasets.examples.folder import write_petals
from ccb_lib.datasets.examples.ild import write_database


def test_petals_come_in_every_form_and_no_piece_on_two_sides(tmp_path):
    root = write_petals(tmp_path, train=40, test=8)
    forms = {(path.suffix, Image.open(path).mode, bool(Image.open(path).getexif())) for path in root.rglob("*.*g")}
    assert forms == {(".png", "RGB", False), (".png", "RGBA", False), (".jpg", "RGB", False), (".jpg", "RGB", True)}
    split = folder.load(root=root, abnormal="abnormal+spotted")
    assert split.test_labels.sum() == 16
    pieces = {"train": set(), "test": set()}
    for row in csv.DictReader((root / "labels.csv").read_text().splitlines()):
        pieces[row["path"].split("/")[0]].add(row["group"])
    assert len(pieces["test"]) == 4  # three pieces of the flower, and the leaves
    assert not pieces["train"] & pieces["test"]


def test_turned_petals_are_upright_again(tmp_path):
    """Every fourth file is stored turned; upright, it looks as the photograph does, lit from the same side."""
    root = write_petals(tmp_path, train=8, test=4)
    stored = Image.open(root / "train/normal/003.jpg")
    assert stored.getexif()[0x0112] == 6
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert not np.array_equal(upright, np.asarray(stored))
    assert np.array_equal(upright, np.asarray(stored.transpose(Image.Transpose.ROTATE_270)))


def test_petals_are_the_same_each_time(tmp_path):
    one, two = write_petals(tmp_path / "1", train=8, test=4), write_petals(tmp_path / "2", train=8, test=4)
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
