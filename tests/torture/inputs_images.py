"""Mutated image files, NIfTI volumes and CIFAR-10 batches."""

import gzip
import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from ccb_lib.datasets import brain_mri, chest_ct, cifar10, lung_ct_98
from ccb_lib.io.image_files import is_grey, read_images
from tests.torture.inputs_dicom import ZEROS
from tests.torture.inputs_judge import Input, Kind, named_by_the_caller
from tests.torture.inputs_mutate import NUMBERS, mutated

ENDINGS = ("png", "jpg", "tif", "bmp", "gif", "webp", "ppm", "jp2", "avif", "")
_NIFTI_SHAPE = (3, 4, 5)


# ── image files ───────────────────────────────────────────────────────────────────────────────────


def make_images(_: Path) -> list[tuple[str, bytes]]:
    """Encode a small picture in every format, mode and compression that is read."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
    grey, deep = colour[..., 0].copy(), colour[..., 0].astype(np.uint16) * 257
    rgb, luma = Image.fromarray(colour), Image.fromarray(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[str, bytes]] = []

    def add(image: Image.Image, ending: str, kind: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        made.append((ending, file.getvalue()))

    for image in (luma, rgb, rgb.convert("RGBA"), rgb.convert("P"), luma.convert("LA"),
                  luma.convert("1"), Image.fromarray(deep)):  # fmt: skip
        add(image, "png", "PNG")
    add(rgb, "png", "PNG", save_all=True, append_images=[rgb.rotate(90)])
    for image, options in ((rgb, {"exif": exif}), (luma, {}), (rgb, {"progressive": True}),
                           (rgb.convert("CMYK"), {})):  # fmt: skip
        add(image, "jpg", "JPEG", **options)
    for compression in (
        "raw",
        "tiff_lzw",
        "tiff_deflate",
        "tiff_adobe_deflate",
        "packbits",
        "jpeg",
    ):
        add(rgb, "tif", "TIFF", compression=compression)
    add(luma.convert("1"), "tif", "TIFF", compression="group4")
    add(Image.fromarray(deep), "tif", "TIFF")
    add(Image.fromarray(grey.astype(np.float32)), "tif", "TIFF")
    for image in (rgb, luma, rgb.convert("P"), luma.convert("1")):
        add(image, "bmp", "BMP")
    add(rgb.convert("P"), "gif", "GIF", save_all=True, append_images=[rgb.rotate(90).convert("P")])
    add(rgb, "webp", "WEBP")
    add(rgb, "webp", "WEBP", lossless=True)
    add(rgb, "ppm", "PPM")
    add(luma, "pgm", "PPM")
    add(rgb, "jp2", "JPEG2000")
    add(rgb, "avif", "AVIF")
    made.append(("ppm", b"P3\n4 2\n255\n" + b"1 22 255 " * 8))
    return made


def mutate_image(rng: Random, seeds: list[tuple[str, bytes]]) -> Input:
    """Change bytes, or the size in the header with a valid checksum, or the file ending."""
    ending, data = rng.choice(seeds)
    if data.startswith(b"\x89PNG") and rng.random() < 0.5:
        data = _changed_png(data, rng)
    elif data.startswith((b"II", b"MM")) and rng.random() < 0.5:
        data = _changed_tiff(data, rng)
    elif rng.random() < 0.3:
        data = _changed_fields(data, rng, 64)
    else:
        data = mutated(data, rng)
    if rng.random() < 0.1:
        ending = rng.choice(ENDINGS)
    name = f"picture.{ending}" if ending else "picture"
    window = rng.choice((None, None, (0, 4095)))
    options = {"channels": rng.choice((1, 3)), "window": window}
    return Input({name: data}, options, names=(name, "1.jpg", "1.png"))


def _changed_fields(data: bytes, rng: Random, head: int) -> bytes:
    """Overwrite one or two aligned integers at the beginning."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 2)):
        at = 2 * rng.randrange(max(1, min(head, len(data)) // 2))
        kind, size = rng.choice((("H", 2), ("I", 4)))
        value = rng.choice(NUMBERS) % 2 ** (8 * size)
        changed[at : at + size] = struct.pack(rng.choice("<>") + kind, value)
    return bytes(changed)


def _changed_png(data: bytes, rng: Random) -> bytes:
    """Change chunks and recompute their checksums."""
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    pick = rng.choice(chunks)
    match rng.randrange(6):
        case 0 | 1:
            width, height = (rng.choice((*NUMBERS[:19], 16, 20)) % 2**32 for _ in "wh")
            chunks[0][1] = struct.pack(">II", width, height) + chunks[0][1][8:]
        case 2:
            chunks[0][1] = chunks[0][1][:8] + bytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
                                                    for _ in range(5))  # fmt: skip
        case 3:
            pick[1] = mutated(pick[1], rng)
        case 4:
            text = rng.choice((b"iTXt", b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"PLTE"))
            body = rng.choice((rng.randbytes(40), b"k\0\0" + zlib.compress(bytes(3_000_000)), b""))
            chunks.insert(rng.randrange(1, len(chunks)), [text, body])
        case 5:
            bomb = zlib.compress(bytes(rng.choice((10**5, 5 * 10**7))))
            size = rng.choice((4000, 8192, 30_000))
            chunks = [[b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)],
                      [b"IDAT", bomb], [b"IEND", b""]]  # fmt: skip
    parts = [data[:8]]
    for name, body in chunks:
        checksum = zlib.crc32(name + body)
        parts += [len(body).to_bytes(4, "big"), name, body, checksum.to_bytes(4, "big")]
    return b"".join(parts)


def _changed_tiff(data: bytes, rng: Random) -> bytes:
    """Change type, count or value of an entry of the directory."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 2)):
        at = start + 2 + 12 * rng.randrange(count)
        kind, offset, size = rng.choice((("H", 0, 2), ("H", 2, 2), ("I", 4, 4), ("I", 8, 4)))
        struct.pack_into(order + kind, changed, at + offset, rng.choice(NUMBERS) % 2 ** (8 * size))
    if rng.random() < 0.1:  # the next directory: a loop of directories
        struct.pack_into(order + "I", changed, start + 2 + 12 * count, rng.choice((start, 0, 8)))
    return bytes(changed)


def read_image(folder: Path, given: Input) -> None:
    """Read with all functions that open image files."""
    (name,) = given.files
    path = folder / name
    with named_by_the_caller():
        is_grey(path)
    if len(given.files[name]) % 3 == 0:
        for place in ("images/1.jpg", "masks/1.png", "no/1.jpg", "yes/1.jpg"):
            (folder / place).parent.mkdir(exist_ok=True)
            os.link(path, folder / place)
        with named_by_the_caller():
            lung_ct_98.read_slice(folder, "1")
        brain_mri.facts(folder)
    read_images([path], image_size=32, **given.options)


# ── NIfTI ─────────────────────────────────────────────────────────────────────────────────────────

_FIELDS = ((0, "i"), (40, "8h"), (70, "h"), (72, "h"), (76, "8f"), (108, "f"), (112, "f"), (116,
           "f"),
           (252, "h"), (254, "h"), (256, "6f"), (280, "12f"), (344, "4s"), (348, "4s"))  # fmt: skip
_FLOATS = (0.0, -1.0, 1.0, 348.0, 352.0, 1e9, 1e30, float("nan"), float("inf"), -352.0, 2.0**62)


def make_nifti(folder: Path) -> dict[str, list[bytes]]:
    """Write small volumes of several types, not compressed, and a file of gigabytes of zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.arange(60).reshape(_NIFTI_SHAPE[::-1])
    made = []
    for kind in (np.int16, np.uint8, np.float32, np.int32):
        image = nibabel.Nifti1Image(values.astype(kind), np.diag([-0.7, 0.7, 2.5, 1.0]))
        made.append(image.to_bytes())
    head = bytearray(made[0])
    struct.pack_into("<f", head, 108, 3.5e8)  # the voxels begin after 350 MB of zeros
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packing.compress(bytes(head)) + packing.flush(zlib.Z_FULL_FLUSH)
    return {"volumes": made, "bombs": [bomb + ZEROS * 400]}


def mutate_nifti(rng: Random, seeds: dict[str, list[bytes]]) -> Input:
    """Change fields of the header, other bytes, or bytes of the compressed file."""
    data = bytearray(rng.choice(seeds["volumes"]))
    mask = gzip.compress(seeds["volumes"][1], mtime=0)
    names = ("cxr.nii.gz", "mask.nii.gz")
    choice = rng.random()
    if choice < 0.005:
        return Input({names[0]: rng.choice(seeds["bombs"]), names[1]: mask})
    if choice < 0.7:
        for _ in range(rng.randint(1, 2)):
            at, form = rng.choice(_FIELDS)
            size = struct.calcsize("<" + form[-1])
            count = int(form[:-1] or 1) if form[-1] != "s" else 1
            at += size * rng.randrange(count)
            if form[-1] == "f":
                struct.pack_into("<f", data, at, rng.choice(_FLOATS))
            elif form[-1] == "s":
                data[at : at + 4] = rng.choice(
                    (b"n+1\0", b"ni1\0", b"n+2\0", b"\x01\0\0\0", b"xxxx")
                )
            else:
                value = rng.choice((*NUMBERS, 3, 4, 5, 16, 64, 512, 1024, 1536, 1792, 2048, 2304))
                struct.pack_into("<" + form[-1].upper(), data, at, value % 2 ** (8 * size))
        packed = gzip.compress(bytes(data), 1, mtime=0)
    elif choice < 0.85:
        packed = gzip.compress(mutated(bytes(data), rng), 1, mtime=0)
    else:
        packed = mutated(gzip.compress(bytes(data), 1, mtime=0), rng)
    if rng.random() < 0.05:
        packed = bytes(data)  # not compressed
    return Input({names[0]: packed, names[1]: mask} if rng.random() < 0.5 else
                 {names[0]: mask, names[1]: packed})  # fmt: skip


def read_nifti(folder: Path, given: Input) -> None:
    """Read the volume and its mask; the shape that is asked for is a small one."""
    before, chest_ct.SHAPE = chest_ct.SHAPE, _NIFTI_SHAPE
    try:
        chest_ct.read_volume(folder)
    finally:
        chest_ct.SHAPE = before


# ── CIFAR-10 batches ──────────────────────────────────────────────────────────────────────────────


class _Runs:
    """Unpickling it would run a command."""

    def __init__(self, module: str, name: str, *args: Any) -> None:
        self._what = (module, name, args)

    def __reduce__(self) -> tuple:
        module, name, args = self._what
        return getattr(__import__(module), name), args


def make_batches(_: Path) -> list[bytes]:
    """Pickle small batches with several protocols."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    batch = {"batch_label": "x", "labels": [3, 8], "data": pixels, "filenames": ["a.png", "b.png"]}
    return [pickle.dumps(batch, protocol) for protocol in (1, 2, 3, 4, 5)]


def mutate_batch(rng: Random, seeds: list[bytes]) -> Input:
    """Change bytes or entries of a batch, or put a call of a function into it."""
    data = rng.choice(seeds)
    if rng.random() < 0.4:
        batch = pickle.loads(data)
        calls = (("os", "system", "touch ../executed"), ("builtins", "eval", "1"),
                 ("builtins", "exec", "open('../executed','w')"), ("os", "mkdir",
                 "../executed"))  # fmt: skip
        values = (_Runs(*rng.choice(calls)), None, 3, [], [3, 99], [-1, -20], ["x", "y"], [[1],
                  [2]],
                  np.zeros((2, 3072), np.float64), np.zeros((3, 3072), np.uint8), "x", b"x", {},
                  np.array(["a", "b"]), np.array([3, 8]), np.array([3.5, 8]), [None,
                  {}])  # fmt: skip
        batch[rng.choice(list(batch))] = rng.choice(values)
        if rng.random() < 0.2:
            batch.pop(rng.choice(list(batch)))
        data = pickle.dumps(rng.choice((batch, batch, batch, list(batch.values()))), 2)
    else:
        data = mutated(data, rng)
    return Input({"data_batch_1": data}, {"others": seeds[1]})


def read_batch(folder: Path, given: Input) -> None:
    """Read six batches, of which the first is a mutated one."""
    for name in cifar10.BATCHES[1:]:
        (folder / name).write_bytes(given.options["others"])
    cifar10.read(folder)


KINDS = (
    Kind("Image files", "PNG, JPEG, TIFF, BMP, GIF, WebP, PNM, JPEG 2000, AVIF: bytes, sizes, "
         "directories, compressed bombs", make_images, mutate_image, read_image),
    Kind("NIfTI files", "fields of the header, bytes, compressed bombs", make_nifti, mutate_nifti,
         read_nifti),
    Kind("CIFAR-10 batches", "bytes, entries, calls of functions", make_batches, mutate_batch,
         read_batch),
)  # fmt: skip
