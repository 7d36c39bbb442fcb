import re

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
    for form in (
        photos,
        expected,
        photos.transpose(0, 2, 3, 1),
        expected.permute(0, 2, 3, 1),
        Labelled(),
    ):
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
        (["a.png", None, 3], "a list of paths with NoneType, int was given"),
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
    with pytest.raises(
        ValueError, match=r"2 of 3 images cannot be read(.|\n)*bad\.png(.|\n)*missing\.png"
    ):
        as_images([good, bad, missing], image_size=32)


def test_range_and_back():
    every = torch.arange(256).to(torch.uint8)
    scaled = to_unit(every)
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert torch.equal(to_uint8(scaled), every)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.array([0, 65535], np.uint16), "(images / 257).round().astype('uint8')"),
        (np.array([0, 65535], np.int32), "(images / 257).round().astype('uint8')"),
        (np.array([0, 4095], np.uint16), "(images / 16.0588).round().astype('uint8')"),
        (np.array([0, 1], np.float32), "(images * 255).round().astype('uint8')"),
        (np.array([-1, 1], np.float64), "((images + 1) * 127.5).round().astype('uint8')"),
        (np.array([0, 255], np.float32), "images.round().astype('uint8')"),
    ],
)
def test_other_dtypes_are_refused_with_a_scaling_that_works(values, scale):
    images = np.resize(values, (2, 1, 32, 32))
    with pytest.raises(ValueError, match=re.escape(scale)) as refused:
        as_images(images)
    assert f"from {values[0]:g} to {values[1]:g}" in str(refused.value)
    scaled = as_images(eval(scale))  # the words of the error, run as they stand
    assert (scaled.min(), scaled.max()) == (0, 255)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((2, 32, 32), -1000, np.int16), r"to_window\(images, \(-1000, 400\)\)"),
        (np.full((2, 32, 32), np.inf, np.float32), "with NaN or infinity"),
        (np.zeros((2, 32, 32), bool), r"torch\.bool was given"),
        (np.zeros((2, 32, 32), np.complex64), r"torch\.complex64 was given"),
        (torch.zeros((2, 32, 32), dtype=torch.bfloat16), r"torch\.bfloat16 from 0 to 0"),
    ],
)
def test_pixels_that_no_rule_scales_are_refused_in_words(images, said):
    with pytest.raises(ValueError, match=said):
        as_images(images)
