"""Files in the forms that users have: each decodes to pixels worked out by hand."""

import os
import re
import struct
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ccb_lib
from ccb_lib.io import image_files, limits
from ccb_lib.io.image_files import is_grey, open_image, read_each, read_images, square
from ccb_lib.io.windows import to_window


def read(path, channels=1, **options):
    return read_images([path], image_size=32, channels=channels, **options)[0].numpy()


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def test_eight_bit_grey_is_kept_exactly(tmp_path):
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32) % 256
    np.testing.assert_array_equal(
        read(save(tmp_path / "a.png", pixels.astype(np.uint8)))[0], pixels
    )


def test_sixteen_bits_are_scaled_over_their_whole_range(tmp_path):
    pixels = np.full((32, 32), 65535, dtype=np.uint16)
    pixels[:, :16] = 257 * 100
    got = read(save(tmp_path / "a.png", pixels))
    assert set(got[0, :, :16].ravel()) == {100}
    assert set(got[0, :, 16:].ravel()) == {255}


def test_a_dark_sixteen_bit_image_is_not_stretched(tmp_path):
    """Brightness must not depend on an image's own maximum, or two images could not be compared."""
    with pytest.warns(UserWarning, match=r"pass window=\(0, 4095\)"):
        assert set(
            read(save(tmp_path / "a.png", np.full((32, 32), 200, dtype=np.uint16))).ravel()
        ) == {1}


def test_a_window_says_what_is_black_and_white(tmp_path):
    pixels = (
        np.array([[0, 1000, 2000, 3000, 4095, 65535]] * 6, dtype=np.uint16)
        .repeat(16, 0)
        .repeat(16, 1)
    )
    got = read_images(
        [save(tmp_path / "a.png", pixels)], image_size=96, channels=1, window=(1000, 3000)
    )[0, 0]
    assert got[8, 8::16].tolist() == [0, 0, 128, 255, 255, 255]  # 127.5 rounds to even


def test_float_images_need_a_window(tmp_path):
    path = save(tmp_path / "a.tif", np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32))
    with pytest.raises(ValueError, match=r"float32 pixels from 0 to 1.*Pass window="):
        read(path)
    assert read(path, window=(0, 1)).max() == 255


def test_transparency_lies_on_black(tmp_path):
    pixels = np.zeros((32, 32, 4), dtype=np.uint8)
    pixels[..., 0] = 200
    pixels[:, 16:, 3] = 255
    got = read(save(tmp_path / "a.png", pixels), channels=3)
    assert got[:, 0, 0].tolist() == [0, 0, 0]
    assert got[:, 0, 31].tolist() == [200, 0, 0]


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((32, 32), dtype=np.uint8)
    pixels[:8] = 255  # a white band on top
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a turn of 90° clockwise: the band is on the right
    got = read(save(tmp_path / "a.png", pixels, exif=exif))[0]
    assert (got[:, -8:] == 255).all()
    assert (got[:, :-8] == 0).all()


def test_the_centre_is_cut_and_shrinking_averages(tmp_path):
    wide = np.zeros((64, 128), dtype=np.uint8)
    wide[:, 32:96:2] = 200  # stripes of one pixel inside the centred square
    wide[:, :32] = 255
    got = read(save(tmp_path / "a.png", wide))[0, :, 2:-2]
    assert got.min() > 90  # plain subsampling would show 0 and 200
    assert got.max() < 110


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "I;16"])
def test_every_mode_decodes(mode):
    image = Image.new("RGB", (40, 50), (250, 250, 250)).convert(
        "L" if mode in ("I", "I;16") else mode
    )
    image = (
        image
        if mode not in ("I", "I;16")
        else Image.fromarray(np.full((50, 40), 64250, dtype=np.uint16))
    )
    for channels in (1, 3):
        assert square(image, 32, channels).shape == (channels, 32, 32)
        assert square(image, 32, channels).mean() > 240


def test_broken_files_are_all_named(tmp_path):
    good = save(tmp_path / "good.png", np.zeros((32, 32), dtype=np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:40])
    (tmp_path / "text.jpg").write_text("no image")
    stack = tmp_path / "stack.tif"
    frames = [Image.new("L", (32, 32), k) for k in range(3)]
    frames[0].save(stack, save_all=True, append_images=frames[1:])
    paths = [good, cut, tmp_path / "text.jpg", tmp_path / "none.png", stack]
    with pytest.raises(ValueError, match="4 of 5 images cannot be read") as error:
        read_images(paths, image_size=32, channels=1)
    for name in (
        "cut.png",
        "text.jpg",
        "none.png: there is no such file",
        "stack.tif: a TIFF stack of 3",
    ):
        assert name in str(error.value)
    assert "good.png" not in str(error.value)
    images, broken = read_each(paths, image_size=32, channels=1)
    assert images.shape == (5, 1, 32, 32)
    assert list(broken) == paths[1:]


def test_postscript_is_never_run(tmp_path):
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match="no image in a format that is read here"):
        read(tmp_path / "a.png")


def test_windows_are_checked():
    for window in [(400, -1000), (1, 1), (0, float("nan")), (1, 2, 3), "wide"]:
        with pytest.raises(ValueError, match="window="):
            to_window(np.zeros(2), window)
    assert to_window(np.array([-2000, -1000, -300, 400, 3000, np.nan]), (-1000, 400)).tolist() == [
        0,
        0,
        128,
        255,
        255,
        0,
    ]


def test_grey_is_told_from_colour_by_the_header(tmp_path):
    assert is_grey(save(tmp_path / "a.png", np.zeros((8, 8), dtype=np.uint16)))
    assert is_grey(save(tmp_path / "b.png", np.zeros((8, 8), dtype=np.uint8)))
    assert not is_grey(save(tmp_path / "c.png", np.zeros((8, 8, 3), dtype=np.uint8)))


def header_of(path):
    with open_image(path) as image:
        return image.size


def test_no_format_that_starts_a_program_is_opened(tmp_path):
    path = tmp_path / "1.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"
    )
    with Image.open(path) as image:
        assert image.format == "EPS"  # so Pillow by itself takes it for an image
    with pytest.raises(ValueError, match="no image in a format that is read here"):
        header_of(path)


def test_errors_of_a_decoder_in_the_block_are_of_one_type(tmp_path):
    """Pillow raises a SyntaxError where the checksum of a chunk is wrong."""
    path = save(tmp_path / "a.png", np.zeros((8, 8), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[-17] ^= 1  # of the checksum of the pixels
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"), open_image(path) as image:
        image.load()


def test_pillow_opens_files_in_one_place_alone():
    package = Path(ccb_lib.__file__).parent
    texts = {
        path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")
    }
    openers = [
        name for name, text in texts.items() if re.search(r"Image\.open\b|import open\b", text)
    ]
    assert openers == ["io/image_files.py"]
    assert texts["io/image_files.py"].count("Image.open(") == 1


@pytest.mark.parametrize("name", ["pipe", "pipe.png", "pipe.dcm"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for function in (is_grey, header_of, read):
        with pytest.raises(ValueError, match="not a file"):
            function(tmp_path / name)


def huge_png(path, side):
    """A PNG of few bytes whose header says that it has side × side pixels of four channels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    coded = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))
    return path


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8193, 13_000, 40_000])
def test_an_image_too_large_for_memory_is_refused_by_its_header(tmp_path, side):
    path = huge_png(tmp_path / "a.png", side)
    for function in (read, is_grey, header_of):
        with pytest.raises(ValueError, match="pixels"):
            function(path)


def test_the_largest_image_that_is_read(tmp_path):
    with open_image(huge_png(tmp_path / "a.png", 8192)) as image:
        assert image.size == (8192, 8192)


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    """Or a pool of threads takes the memory of one many times over."""
    paths = [save(tmp_path / f"{k}.png", np.zeros((64, 64), dtype=np.uint8)) for k in range(12)]
    at_work, most = [], []

    def slow(*_):
        at_work.append(1)
        time.sleep(0.01)
        most.append(len(at_work))
        at_work.pop()
        return np.zeros((1, 32, 32), dtype=np.uint8)

    monkeypatch.setattr(image_files, "square", slow)
    monkeypatch.setattr(
        image_files, "ThreadPoolExecutor", partial(image_files.ThreadPoolExecutor, 4)
    )
    read_images(paths, image_size=32, channels=1)
    assert max(most) > 1
    most.clear()
    monkeypatch.setattr(limits, "_LARGE", 64 * 64 - 1)
    read_images(paths, image_size=32, channels=1)
    assert max(most) == 1
