"""The chest CT: its rules on a volume made here, and on the real one where it is at hand."""

from collections import Counter

import nibabel
import numpy as np
import pytest
import torch

from ccb_lib import load_dataset
from ccb_lib.datasets import chest_ct, ild
from ccb_lib.io.windows import to_window

AFFINE = np.diag([-0.703125, 0.703125, 2.5, 1.0])  # the file's: left, front, head


def write(folder, hounsfield, organs, affine=AFFINE):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("cxr.nii.gz", hounsfield), ("mask.nii.gz", organs)):
        nibabel.Nifti1Image(values, affine).to_filename(folder / name)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One lung with a ball of tissue where the real mass is; axes as in the file: x to the left, y
    to the front."""
    shape = chest_ct.SHAPE[::-1]
    hounsfield, organs = np.full(shape, 40, dtype=np.int16), np.zeros(shape, dtype=np.uint8)
    lung = np.s_[264:376, 96:208, 30:126]
    hounsfield[lung], organs[lung] = -850, 11
    hounsfield[300, 200, 60] = 400  # one bright voxel
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    hounsfield[(x - 316) ** 2 + (y - 144) ** 2 + (4 * (z - 89.5)) ** 2 <= 14**2] = 20
    return write(tmp_path_factory.mktemp("raw") / "chest-ct", hounsfield, organs)


@pytest.fixture(scope="module")
def volume(made):
    return chest_ct.read_volume(made)


@pytest.fixture(scope="module")
def images(made):
    return chest_ct.read(made)


def test_slices_are_seen_as_radiologists_look_at_them(volume):
    """Rows from front to back: y 200 of the file is row 311. Columns from right to left, as x runs
    in the file."""
    assert volume.hounsfield.shape == volume.lung.shape == chest_ct.SHAPE
    assert np.argwhere(volume.hounsfield == 400).tolist() == [[60, 511 - 200, 300]]
    rows, columns = np.nonzero(volume.lung[60])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (511 - 207, 511 - 96, 264, 375)
    assert volume.grey(60)[311, 300] == 255
    assert volume.grey(60, (-1000, 1800))[311, 300] == round(1400 / 2800 * 255)


@pytest.mark.parametrize("signs", [(-1, 1, 1), (1, 1, 1), (1, -1, -1)])
def test_the_way_of_the_axes_is_read_from_the_file(tmp_path, monkeypatch, signs):
    monkeypatch.setattr(chest_ct, "SHAPE", (3, 4, 5))
    values = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    turned = values[
        :: signs[0], :: signs[1], :: signs[2]
    ]  # the same body, stored the other way round
    write(tmp_path, turned, np.zeros((5, 4, 3), np.uint8), np.diag([*signs, 1.0]).astype(float))
    expected = values[::-1, ::-1].transpose(2, 1, 0)  # values is stored right, front, head
    np.testing.assert_array_equal(chest_ct.read_volume(tmp_path).hounsfield, expected)


def share(mask, row, column, size=32):
    return mask[row : row + size, column : column + size].mean()


@pytest.mark.parametrize("number", [29, 60, 83, 84, 88, 95, 96])
def test_patches_of_a_slice_by_brute_force(volume, number):
    lung, expected = volume.lung[number], set()
    near = np.zeros((512, 512), dtype=bool)
    mass = np.zeros((512, 512), dtype=bool)
    rows, columns = np.mgrid[:512, :512]
    distance = np.hypot(rows - 367, columns - 316)
    if 84 <= number <= 95:
        near = distance <= 40
    if 86 <= number <= 93:
        mass = (distance <= 24) & (volume.hounsfield[number] > -400)
    for row in range(0, 512 - 31, 8):
        for column in range(0, 512 - 31, 8):
            if share(lung, row, column) < 0.75:
                continue
            if row % 16 == column % 16 == 0 and not share(near, row, column):
                expected.add(("healthy", row, column))
            if share(mass, row, column) >= 1 / 8:
                expected.add(("mass", row, column))
    assert set(chest_ct.slice_patches(volume, number)) == expected
    assert (number == 29) == (not expected)
    assert (number == 88) == any(label == "mass" for label, *_ in expected)


def test_pixels_are_those_of_the_windowed_slice(volume, images, made):
    for row in (0, len(images) // 2, len(images) - 1):
        number, top, left = map(int, images.ids[row].replace(":", ",").split(","))
        patch = volume.hounsfield[number, top : top + 32, left : left + 32]
        np.testing.assert_array_equal(images.pixels[row, 0], to_window(patch, (-1000, 400)))
        assert images.groups[row] == str(number)
    wide = chest_ct.read(made, window=(-1200, 200))
    assert wide.ids.tolist() == images.ids.tolist()
    assert not torch.equal(wide.pixels, images.pixels)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_blocks_of_slices_with_a_gap_between_them(images, seed):
    parts, notes = chest_ct.split_patches(images, test_share=0.3, calibration=0.1, seed=seed)
    slices = [set(images.groups[rows].astype(int).tolist()) for rows in parts]
    for k, part in enumerate(slices):
        for other in slices[k + 1 :]:
            assert min(abs(a - b) for a in part for b in other) >= 2
    assert {84, 95} <= slices[2]  # the blocks of the mass are tested on
    healthy = (images.classes == "healthy").sum()
    assert len(parts.pool) >= 0.3 * healthy
    lost = healthy - sum(map(len, parts))
    assert notes == (f"{lost} normal patches of slices between two parts are left out.",)


def test_the_mass_is_the_default_and_never_trained_on(made):
    split = load_dataset("ild", source="chest-ct", root=made.parent, test="natural")
    assert (split.name, split.abnormal) == ("chest-ct", "mass")
    assert set(split.test_groups[split.test_labels]) <= {str(number) for number in range(86, 94)}
    assert split.test_labels.sum() > 20
    assert (
        split.test[torch.from_numpy(split.test_labels)].float().mean() > split.train.float().mean()
    )
    assert "left out" in repr(split)
    same = ild.load(source="chest-ct", root=made, abnormal="mass", test="natural")
    assert torch.equal(same.train, split.train)
    larger = ild.load(source="chest-ct", root=made, image_size=64)
    assert larger.image_size == 64


def test_mistakes_are_named(made, tmp_path):
    with pytest.raises(ValueError, match="Choose one of: mass"):
        ild.load(source="chest-ct", root=made, abnormal="fibrosis")
    with pytest.raises(ValueError, match="chest-ct has no pilot"):
        ild.load(source="chest-ct", root=made, pilot=True)
    with pytest.raises(ValueError, match="the lower value comes first"):
        ild.load(source="chest-ct", root=made, window=(400, -1000))
    with pytest.raises(ValueError, match=r"load_dataset\('ild', source='chest-ct', …\)"):
        load_dataset("chest-ct")
    with pytest.raises(FileNotFoundError, match=r"holds no cxr\.nii\.gz and no mask\.nii\.gz"):
        chest_ct.read(tmp_path)
    broken = write(
        tmp_path / "chest-ct", np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.uint8)
    )
    with pytest.raises(ValueError, match="another scan"):
        chest_ct.read(broken)
    (broken / "cxr.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ValueError, match=r"cxr\.nii\.gz cannot be read"):
        chest_ct.read(broken)


def test_without_nibabel_the_extra_is_named(made, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"ccb-lib\[nifti\]"):
        chest_ct.read_volume(made)


def test_the_real_scan(tmp_path, chest_ct_folder):
    for name in chest_ct.FILES:  # so that patches are cut anew, not taken from the user's cache
        (tmp_path / name).symlink_to(chest_ct_folder / name)
    images = chest_ct.read(tmp_path)
    assert Counter(images.classes.tolist()) == {"healthy": 8332, "mass": 159}
    assert len(chest_ct.read(tmp_path, share=0.95)) == 5997 + 123
    means = images.pixels.float().mean((1, 2, 3)).numpy()
    assert means[images.classes == "mass"].mean() > 2 * means[images.classes == "healthy"].mean()
    volume = chest_ct.read_volume(tmp_path)
    rows, columns = np.nonzero(volume.mass(90))
    assert (
        np.hypot(rows.mean() - 367, columns.mean() - 316) < 3
    )  # the circle is centred on the mass
    assert volume.lung[90][chest_ct.circle()].mean() > 0.9
    assert (
        volume.hounsfield[60, :100].max() < volume.hounsfield[60, 300:450].max()
    )  # air in front, spine behind
