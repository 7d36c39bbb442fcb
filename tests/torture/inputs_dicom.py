"""Mutated DICOM files."""

import io
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate

from ccb_lib.io import dicom
from ccb_lib.io.image_files import is_grey, read_images
from tests.torture.inputs_judge import Input, Kind, named_by_the_caller
from tests.torture.inputs_mutate import NUMBER_TEXTS, NUMBERS, mutated

_LONG = (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL")
_TAGS = {
    "Rows": (0x0028, 0x0010), "Columns": (0x0028, 0x0011), "Samples": (0x0028, 0x0002),
    "Frames": (0x0028, 0x0008), "Photometric": (0x0028, 0x0004), "Planar": (0x0028, 0x0006),
    "Allocated": (0x0028, 0x0100), "Stored": (0x0028, 0x0101), "High": (0x0028, 0x0102),
    "Signed": (0x0028, 0x0103), "Center": (0x0028, 0x1050), "Width": (0x0028, 0x1051),
    "Intercept": (0x0028, 0x1052), "Slope": (0x0028, 0x1053), "Location": (0x0020, 0x1041),
    "Position": (0x0020, 0x0032), "Number": (0x0020, 0x0013), "Modality": (0x0008, 0x0060),
    "Charset": (0x0008, 0x0005), "Syntax": (0x0002, 0x0010), "Length": (0x0002, 0x0000),
    "LUT": (0x0028, 0x3010), "ModalityLUT": (0x0028, 0x3000), "Red": (0x0028, 0x1101),
}  # fmt: skip
_VALUES = (b"", b"0", b"-1", b"1\\2", b"1e9999", b"nan ", b"inf ", b"x", b"\\", b"MONOCHROME1 ",
           b"PALETTE COLOR ", b"YBR_FULL_422", b"RGB ", b"CT", b"MR", b"ISO_IR 192", b"\xff\xfe",
           b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50",
           b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2", b"9" * 400,
           b"1" + b"0" * 5000)  # fmt: skip
_KINDS = (b"US", b"SS", b"UL", b"DS", b"IS", b"CS", b"LO", b"UI", b"SQ", b"OW", b"OB", b"UN", b"FD",
          b"AT", b"PN", b"DA", b"??")  # fmt: skip


def make_dicom(folder: Path) -> list[bytes]:
    """Write a small slice in several transfer syntaxes, depths and photometric interpretations."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    raw = rng.integers(-1000, 1000, (12, 10), dtype=np.int16)
    colour = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)

    def slice_of(pixels: np.ndarray, **tags: Any) -> pydicom.Dataset:
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.Modality, data.SeriesInstanceUID = "CT", "1.2"
        data.InstanceNumber, data.SliceLocation = 3, -12.5
        data.ImagePositionPatient, data.PixelSpacing = [0, 0, 3.5], [1.0, 1.0]
        data.RescaleSlope, data.RescaleIntercept = 1.0, -1024.0
        data.WindowCenter, data.WindowWidth = -300, 1400
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
        data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
        if pixels.ndim == 3:
            data.PlanarConfiguration = 0
        data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype == np.int16)
        data.PixelData = pixels.tobytes()
        for tag, value in tags.items():
            setattr(data, tag, value)
        return data

    def stored(data: pydicom.Dataset, syntax: str = pydicom.uid.ExplicitVRLittleEndian) -> bytes:
        data.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()

    def compressed(kind: str, syntax: str, pixels: np.ndarray, **tags: Any) -> bytes:
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, kind)
        data = slice_of(pixels, **tags)
        data.PixelData = encapsulate([coded.getvalue()])
        data["PixelData"].VR = "OB"
        return stored(data, syntax)

    plain = stored(slice_of(raw))
    packed = slice_of(raw)
    packed.compress(pydicom.uid.RLELossless)
    jpeg = compressed("JPEG", pydicom.uid.JPEGBaseline8Bit, colour[..., 0].copy(), Modality="MR")
    return [
        plain,
        plain[132:],  # an old file: no preamble
        plain,
        stored(slice_of(raw, Modality="MR", PhotometricInterpretation="MONOCHROME1")),
        stored(slice_of(raw.astype(np.uint16), Modality="MR", WindowCenter=None)),
        stored(slice_of(colour)),
        stored(slice_of(np.stack([raw, raw])[0], NumberOfFrames=1)),
        stored(slice_of(raw), pydicom.uid.ImplicitVRLittleEndian),
        stored(slice_of(raw), pydicom.uid.DeflatedExplicitVRLittleEndian),
        stored(packed, pydicom.uid.RLELossless),
        jpeg,
        compressed("JPEG2000", pydicom.uid.JPEG2000Lossless, colour, Modality="MR"),
    ]


def elements(data: bytes) -> tuple[bytes, list[list[Any]]]:
    """Split an explicit little-endian file: what precedes the tags; (group, element, VR, value)."""
    at = 132 if data[128:132] == b"DICM" else 0
    head, found = data[:at], []
    while at + 8 <= len(data):
        group, element = struct.unpack_from("<HH", data, at)
        kind = data[at + 4 : at + 6]
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", data, at + 8)
            at += 12
        else:
            (length,) = struct.unpack_from("<H", data, at + 6)
            at += 8
        length = len(data) - at if length == 2**32 - 1 else length
        found.append([group, element, kind, data[at : at + length]])
        at += length
    return head, found


def joined(head: bytes, found: list[list[Any]]) -> bytes:
    """Write what `elements` split, with the lengths of the values as they are now."""
    parts = [head]
    for group, element, kind, value in found:
        parts.append(struct.pack("<HH", group, element) + kind)
        if kind in _LONG:
            parts.append(b"\0\0" + struct.pack("<I", len(value)))
        else:
            parts.append(struct.pack("<H", len(value) % 2**16))
        parts.append(value)
    return b"".join(parts)


def mutate_dicom(rng: Random, seeds: list[bytes]) -> Input:
    """Change bytes, or tags: their values, types, order and number; or deflate the data set."""
    data = rng.choice(seeds)
    explicit = data[128:132] == b"DICM" and data in seeds[:7]
    if explicit and rng.random() < 0.6:
        head, found = elements(data)
        for _ in range(rng.randint(1, 3)):
            _change_tag(found, rng)
        data = joined(head, found)
        if rng.random() < 0.15:
            data = _deflated(head, found, rng)
    else:
        data = mutated(data, rng)
    return Input({rng.choice(("slice.dcm", "slice.dcm", "slice", "slice.IMA")): data})


def _change_tag(found: list[list[Any]], rng: Random) -> None:
    wanted = rng.choice(list(_TAGS.values()))
    tag = next((tag for tag in found if tuple(tag[:2]) == wanted), None)
    match rng.randrange(8):
        case 0 if tag:
            found.remove(tag)
        case 1 if tag:
            tag[2] = rng.choice(_KINDS)
        case 2 if tag:
            tag[3] = mutated(tag[3], rng)
        case 3:
            pick = rng.choice(found)
            pick[rng.randrange(2)] = rng.choice(NUMBERS) % 2**16
        case 4:
            rng.shuffle(found)
        case _ if tag and tag[2] in (b"US", b"SS"):
            values = [rng.choice(NUMBERS) % 2**16 for _ in range(rng.choice((1, 1, 1, 2, 0)))]
            tag[3] = struct.pack(f"<{len(values)}H", *values)
        case _ if tag:
            tag[3] = rng.choice((*_VALUES, rng.choice(NUMBER_TEXTS[:20]).encode()))
        case _:
            value = rng.choice((*_VALUES, rng.randbytes(10)))
            found.append([*wanted, rng.choice(_KINDS), value])
            found.sort(key=lambda tag: tag[:2])


def _compressed_zeros() -> bytes:
    """Return a block of a deflated stream that inflates to 2**20 zeros and can be repeated."""
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packing.compress(bytes(2**20)) + packing.flush(zlib.Z_FULL_FLUSH)


ZEROS = _compressed_zeros()


def _deflated(head: bytes, found: list[list[Any]], rng: Random) -> bytes:
    """Deflate the data set; seldom with hundreds of megabytes of zeros in a tag or at the end."""
    meta = [tag for tag in found if tag[0] == 2 and tag[1] != 0x10]
    meta.append([0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1.99"])
    body = joined(b"", [tag for tag in found if tag[0] != 2])
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packing.compress(body)
    if rng.random() < 0.2:
        packed += packing.compress(struct.pack("<HH2sHI", 0x7FE1, 0x10, b"OB", 0, 2**31))
        packed += packing.flush(zlib.Z_FULL_FLUSH) + ZEROS * rng.choice((1, 64, 700))
    packed += packing.flush()
    return joined(head, sorted(meta, key=lambda tag: tag[:2])) + packed


def read_dicom(folder: Path, given: Input) -> None:
    """Read with all functions that open DICOM files."""
    (name,) = given.files
    path = folder / name
    readers = (dicom.read_header, dicom.read_hounsfield, dicom.read_mask, is_grey)
    with named_by_the_caller():
        readers[len(given.files[name]) % 4](path)
    read_images([path], image_size=32, channels=1)


KINDS = (
    Kind(
        "DICOM files",
        "tags, types and bytes in six transfer syntaxes, deflated bombs",
        make_dicom,
        mutate_dicom,
        read_dicom,
    ),
)
