import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from ccb_lib.io.images import as_images, to_uint8, to_unit


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


def test_every_accepted_form_gives_the_same_tensor(photos, tmp_path):
    class Labelled(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return Image.fromarray(photos[i].transpose(1, 2, 0)), 0

    paths = []
    for i, photo in enumerate(photos):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(photo.transpose(1, 2, 0)).save(paths[-1])
    expected = torch.from_numpy(photos)
    for form in (photos, expected, photos.transpose(0, 2, 3, 1), expected.permute(0, 2, 3, 1), Labelled()):
        assert torch.equal(as_images(form), expected)
    assert torch.equal(as_images(paths, image_size=32, channels=3), expected)
    assert torch.equal(as_images([str(p) for p in paths], image_size=32), expected)


def test_grey_images_get_a_channel(photos):
    assert as_images(photos[:, 0]).shape == (4, 1, 32, 32)
    assert as_images(photos[:3, 0]).shape == (3, 1, 32, 32)
    assert as_images(photos[:, 0, :, :, None]).shape == (4, 1, 32, 32)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((2, 3, 32, 32), np.float32), r"float32 from 0 to 0.*uint8 from 0 to 255.*\* 255"),
        (np.full((2, 3, 32, 32), np.nan, np.float32), "NaN"),
        (np.zeros((0, 3, 32, 32), np.uint8), "empty set"),
        (np.zeros((2, 2, 32, 32), np.uint8), r"shape \(2, 2, 32, 32\)"),
        (np.zeros((32, 32, 3), np.uint8), "add a first axis"),
        (np.zeros((2, 3, 32, 33), np.uint8), "32×33 were given; 32×32 or 64×64"),
        (np.zeros((2, 3, 48, 48), np.uint8), "48×48 were given"),
        (np.zeros((2, 3, 32, 32), np.int64), "int64"),
        ("photo.png", "one path was given"),
        (object(), "object given"),
        ([], "empty set"),
    ],
)
def test_wrong_input_is_named(images, says):
    with pytest.raises(ValueError, match=says):
        as_images(images)


def test_size_and_channels_demanded(photos):
    with pytest.raises(ValueError, match="32×32 were given; 64×64 is needed"):
        as_images(photos, image_size=64)
    with pytest.raises(ValueError, match=r"3 channels given, 1 needed\. Average"):
        as_images(photos, channels=1)
    with pytest.raises(ValueError, match=r"1 channel given, 3 needed\. Repeat"):
        as_images(photos[:, :1], channels=3)


def test_unreadable_files_are_listed_together(tmp_path):
    good, bad, missing = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "missing.png"
    Image.new("L", (40, 50)).save(good)
    bad.write_text("no image")
    with pytest.raises(ValueError, match=r"2 of 3 images cannot be read(.|\n)*bad\.png(.|\n)*missing\.png"):
        as_images([good, bad, missing], image_size=32)


def test_range_and_back():
    every = torch.arange(256).to(torch.uint8)
    scaled = to_unit(every)
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert torch.equal(to_uint8(scaled), every)
