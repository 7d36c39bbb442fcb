"""The stand-in on real CT: its rules on slices drawn by hand, and on the real slices where they
are at hand."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ccb_lib.datasets import ild, lung_ct_98
from ccb_lib.datasets.lung_ct_98 import healthy_lung, otsu


def body(size=200):
    """Grey body to the edges, two dark lungs, a dark corner, a small dark airway."""
    grey = np.full((size, size), 200, dtype=np.uint8)
    grey[40:160, 20:90] = 40
    grey[40:160, 110:180] = 40
    grey[:30, :100] = (
        5  # 3,000 pixels: larger than 5 % of the slice, so only its corner gives it away
    )
    grey[80:90, 95:105] = 5
    return grey


def test_otsu_by_hand():
    assert 10 <= otsu(np.array([10] * 5 + [200] * 3, dtype=np.uint8)) < 200
    assert otsu(np.array([0] * 90 + [50] * 5 + [255] * 5, dtype=np.uint8)) in range(50, 255)
    assert otsu(np.full(10, 7, dtype=np.uint8)) == 0


def test_healthy_lung_by_hand():
    got = healthy_lung(body(), np.zeros((200, 200), dtype=bool))
    expected = np.zeros((200, 200), dtype=bool)
    expected[40:160, 20:90] = expected[40:160, 110:180] = True
    assert (got ^ expected).sum() <= 8  # opening rounds the corners by a pixel
    marked = np.zeros((200, 200), dtype=bool)
    marked[100, 55] = True
    near = healthy_lung(body(), marked)
    assert not near[100, 55 - 16 : 55 + 17].any()
    assert near[100, 55 - 17]
    assert near[100, 55 + 17]


def test_lung_that_touches_the_edge_of_the_slice_is_kept_whole():
    grey = np.full((200, 200), 200, dtype=np.uint8)
    grey[60:140, :70] = 40
    got = healthy_lung(grey, np.zeros((200, 200), dtype=bool))
    assert got[62:138, 0].all()
    assert got.sum() >= 80 * 70 - 8


def test_small_vessels_count_as_lung():
    grey = body()
    grey[40:160, 50:53] = 200
    assert healthy_lung(grey, np.zeros((200, 200), dtype=bool))[60:140, 50:53].all()


@pytest.fixture
def made(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "lung_ct_98" / part).mkdir(parents=True)
    for k in range(6):
        grey = body()
        mask = np.zeros((200, 200, 3), dtype=np.uint8)
        mask[48:112, 112:176] = (128, 0, 0)
        grey[48:112, 112:176] = 90
        Image.fromarray(grey).save(tmp_path / f"lung_ct_98/images/{k}.jpg", quality=95)
        Image.fromarray(mask).save(tmp_path / f"lung_ct_98/masks/{k}.png")
    return tmp_path


def test_made_slices_are_cut_and_split_by_slice(made):
    split = ild.load(abnormal="ground_glass", root=made, source="lung_ct_98", test="natural")
    assert split.name == "lung_ct_98"
    sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
    assert [len(side) for side in sides] == [3, 1, 2]
    assert len(set.union(*sides)) == 6
    assert split.test_labels.sum() == 2 * 9  # 64×64 px from (48, 112): three offsets each way
    assert set(split.test_classes[~split.test_labels]) == {"healthy"}


def test_what_cannot_be_read_is_named(made):
    folder = made / "lung_ct_98"
    (folder / "masks/1.png").unlink()
    Image.new("RGB", (20, 20)).save(folder / "masks/2.png")
    (folder / "images/3.jpg").write_bytes(b"broken")
    with pytest.raises(ValueError, match="3 slices cannot be read") as error:
        lung_ct_98.read(made)
    for name in ("1.png", "2.jpg", "3.jpg"):
        assert name in str(error.value)
    with pytest.raises(ValueError, match="has no window"):
        ild.load(abnormal="ground_glass", root=made, source="lung_ct_98", window=(-1200, 200))
    with pytest.raises(FileNotFoundError, match=r"No images/\*\.jpg"):
        lung_ct_98.read(folder / "masks")


def test_real_slices(tmp_path, lung_ct_98_folder):
    (tmp_path / "lung_ct_98").mkdir()
    for part in ("images", "masks"):  # so that the cache is not written beside the real ones
        (tmp_path / "lung_ct_98" / part).symlink_to(lung_ct_98_folder / part)
    images = lung_ct_98.read(tmp_path)
    counts = Counter(images.classes.tolist())
    assert counts["ground_glass"] == 1683
    assert set(counts) == {"ground_glass", "consolidation", "healthy"}
    assert len(set(images.groups)) <= lung_ct_98.SLICES
    values = {
        label: images.pixels[images.classes == label].float().mean().item() for label in counts
    }
    assert values["healthy"] < values["ground_glass"] < values["consolidation"]  # air, haze, solid
