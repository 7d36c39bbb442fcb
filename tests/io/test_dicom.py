"""DICOM slices: Hounsfield units, padding and windows worked out by hand."""

import sys

import numpy as np
import pydicom
import pytest

from ccb_lib.io import dicom, dicom_display, dicom_writing
from ccb_lib.io.image_files import is_grey, read_images

RAW = np.full((32, 32), 1000, dtype=np.int16)


def change(path, **tags):
    data = pydicom.dcmread(path)
    for tag, value in tags.items():
        if value is None:
            delattr(data, tag)
        else:
            setattr(data, tag, value)
    data.save_as(path)
    return path


def test_hounsfield_units_by_hand(tmp_path):
    raw = RAW.copy()
    raw[0, :4] = [-2000, 0, 24, 1424]
    dicom_writing.write_image(tmp_path / "a.dcm", raw, slope=2.0, intercept=-1024.0)
    got = dicom.read_hounsfield(tmp_path / "a.dcm")
    assert got.dtype == np.float32
    assert got[0, :5].tolist() == [-1024, -1024, -976, 1824, 976]  # 2 × raw − 1024, −2000 as 0
    assert dicom.read_hounsfield(tmp_path / "a.dcm", padding=None)[0, 0] == -5024


def test_headers_place_a_slice(tmp_path):
    dicom_writing.write_image(
        tmp_path / "a.dcm", RAW[:16], number=7, location=-12.5, series="1.2.3"
    )
    assert dicom.read_header(tmp_path / "a.dcm") == dicom.Header(
        tmp_path / "a.dcm", "1.2.3", 7, -12.5, (16, 32)
    )
    change(
        tmp_path / "a.dcm",
        SliceLocation=None,
        InstanceNumber=None,
        ImagePositionPatient=[0, 0, 3.5],
    )
    header = dicom.read_header(tmp_path / "a.dcm")
    assert (header.number, header.location) == (None, 3.5)


def test_a_slice_without_slope_is_an_error_that_says_so(tmp_path):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW, slope=None)
    for read in (dicom.read_hounsfield, dicom.read_image):
        with pytest.raises(ValueError, match="no RescaleSlope"):
            read(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"a\.dcm: it has no RescaleSlope"):
        read_images([tmp_path / "a.dcm"], image_size=32, channels=1)


def test_ct_is_windowed_for_lungs_unless_told_otherwise(tmp_path):
    raw = RAW.copy()
    raw[0, :4] = [-2000, 24, 724, 1424]  # HU −3024, −1000, −300, 400
    dicom_writing.write_image(tmp_path / "a.dcm", raw)
    assert np.asarray(dicom.read_image(tmp_path / "a.dcm"))[0, :4].tolist() == [0, 0, 128, 255]
    assert np.asarray(dicom.read_image(tmp_path / "a.dcm", (-300, 400)))[0, :4].tolist() == [
        0,
        0,
        0,
        255,
    ]


def test_other_modalities_take_their_own_window_or_their_bits(tmp_path):
    raw = RAW.copy()
    raw[0, :3] = [0, 500, 32767]
    path = tmp_path / "a.dcm"
    dicom_writing.write_image(path, raw, slope=None, intercept=None, modality="MR")
    assert np.asarray(dicom.read_image(path))[0, :3].tolist() == [128, 129, 255]  # of −32768…32767
    change(path, WindowCenter=[500, 40], WindowWidth=[1000, 400])
    assert np.asarray(dicom.read_image(path))[0, :3].tolist() == [0, 128, 255]
    change(path, PhotometricInterpretation="MONOCHROME1")
    assert np.asarray(dicom.read_image(path))[0, :3].tolist() == [255, 127, 0]


def with_values(path, values, slope=None, intercept=None, **tags):
    """Write an MR image; with a slope of 2, values of the file's window are rescaled ones."""
    values = np.resize(values, (32, 32)).astype(np.int16)
    dicom_writing.write_image(path, values, slope=slope, intercept=intercept, modality="MR")
    return change(path, **tags)


def lookup_table(first, entries, depth=16):
    table = pydicom.Dataset()
    table.LUTDescriptor = [len(entries), first, depth]
    table.LUTData = list(entries)
    table["LUTDescriptor"].VR, table["LUTData"].VR = "SS" if first < 0 else "US", "US"
    return pydicom.Sequence([table])


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [(None, None), (2.0, -1000.0), (-0.5, 40.0)])
@pytest.mark.parametrize("width", [1, 2, 3, 12, 400])
def test_the_files_own_window_is_that_of_pydicom(tmp_path, function, rescale, width):
    slope, intercept = rescale
    rng = np.random.default_rng(width)
    tags = {"WindowCenter": 40, "WindowWidth": width}
    tags |= {} if function is None else {"VOILUTFunction": function}
    values = rng.integers(-2000, 2000, 1000)
    values[:500] = rng.integers(-60, 60, 500)
    path = with_values(tmp_path / "a.dcm", values, slope, intercept, **tags)
    data = pydicom.dcmread(path)
    with np.errstate(over="ignore"):
        shown = pydicom.pixels.apply_voi_lut(
            pydicom.pixels.apply_modality_lut(data.pixel_array, data), data
        )
    black, white = ((slope or 1) * end + (intercept or 0) for end in (-(2**15), 2**15 - 1))
    exact = (shown - black) / (white - black) * 255
    np.testing.assert_allclose(np.asarray(dicom.read_image(path)), exact, atol=0.5 + 1e-6)
    assert {0, 255} <= set(np.asarray(dicom.read_image(path)).ravel().tolist())


def test_windows_by_hand(tmp_path):
    tags = {"WindowCenter": 2, "WindowWidth": 4}
    values = [0, 1, 2, 3, 4]
    shown = {"LINEAR_EXACT": [0, 64, 128, 191, 255]}
    shown["LINEAR"] = [0, 85, 170, 255, 255]  # 255 · ((x − 1.5) / 3 + 0.5)
    shown["SIGMOID"] = [30, 69, 128, 186, 225]  # 255 / (1 + exp(−4 (x − 2) / 4))
    for function, wanted in shown.items():
        path = with_values(tmp_path / "a.dcm", values, VOILUTFunction=function, **tags)
        assert np.asarray(dicom.read_image(path))[0, :5].tolist() == wanted
        # A window that is given replaces the file's own.
        assert np.asarray(dicom.read_image(path, (1, 3)))[0, :5].tolist() == [0, 0, 128, 255, 255]


def test_lookup_tables_are_applied_and_values_outside_are_clipped(tmp_path):
    values = [-5, 0, 1, 2, 300]
    path = with_values(tmp_path / "a.dcm", values, WindowCenter=0, WindowWidth=10)
    entries = [0, 30000, 65535]
    change(path, VOILUTSequence=lookup_table(0, entries))
    assert np.asarray(dicom.read_image(path))[0, :5].tolist() == [0, 0, 117, 255, 255]
    many = np.repeat([0, 100, 255], 200)  # 8-bit entries, more than 8 bits can count
    change(path, VOILUTSequence=lookup_table(-300, many, depth=8))
    assert np.asarray(dicom.read_image(path))[0, :5].tolist() == [100, 100, 100, 100, 255]
    change(path, VOILUTSequence=None, WindowCenter=None, WindowWidth=None)
    change(path, ModalityLUTSequence=lookup_table(0, [10, 20, 255], depth=8))
    assert np.asarray(dicom.read_image(path))[0, :5].tolist() == [10, 10, 20, 255, 255]
    assert np.asarray(dicom.read_image(path, (10, 20)))[0, :5].tolist() == [0, 0, 255, 255, 255]
    ours = np.asarray(dicom.read_image(path))
    data = pydicom.dcmread(path)
    assert (ours == pydicom.pixels.apply_modality_lut(data.pixel_array, data)).all()


def test_a_large_image_is_converted_in_bands(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    tags = {"WindowCenter": 0, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}
    path = with_values(tmp_path / "a.dcm", rng.integers(-99, 99, 1024), **tags)
    whole = np.asarray(dicom.read_image(path))
    monkeypatch.setattr(dicom_display, "_BAND", 100)
    assert (np.asarray(dicom.read_image(path)) == whole).all()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"WindowWidth": 0.5}, "its WindowWidth is 0.5; a LINEAR window needs at least 1"),
        ({"WindowWidth": 5, "VOILUTFunction": "CUBIC"}, "CUBIC"),
        ({"VOILUTSequence": lookup_table(0, [1], depth=16)[:0]}, None),
    ],
)
def test_windows_that_are_not_valid(tmp_path, tags, said):
    path = with_values(tmp_path / "a.dcm", [1], WindowCenter=1, **tags)
    if said is None:
        assert dicom.read_image(path).size == (32, 32)
        return
    with pytest.raises(ValueError, match=said):
        dicom.read_image(path)


def palette_file(path, entries, bits):
    values = np.resize([0, 1, 2, 7], (32, 32)).astype(np.int16)
    dicom_writing.write_image(path, values, slope=None, intercept=None, modality="US")
    data = pydicom.dcmread(path)
    data.PhotometricInterpretation, data.PixelRepresentation = "PALETTE COLOR", 0
    dtype = np.uint8 if bits == 8 else np.uint16
    for at, colour in enumerate(("Red", "Green", "Blue")):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [len(entries), 0, bits])
        data[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        column = np.array([entry[at] for entry in entries], dtype)
        setattr(data, f"{colour}PaletteColorLookupTableData", column.tobytes())
    data.save_as(path)
    return path


@pytest.mark.parametrize("bits", [8, 16])
def test_the_colours_of_a_palette_are_looked_up(tmp_path, bits):
    entries = np.array([[0, 10, 20], [255, 0, 0], [0, 255, 0], [7, 8, 9]]) << (bits - 8)
    path = palette_file(tmp_path / "a.dcm", entries, bits)
    assert not is_grey(path)
    found = read_images([path], image_size=32, channels=3)[0, :, 0, :4].T.tolist()
    assert found == [[0, 10, 20], [255, 0, 0], [0, 255, 0], [7, 8, 9]]
    with pytest.raises(ValueError, match="palette; one grey slice is needed"):
        dicom.read_mask(path)


def test_palettes_that_are_not_read_are_named(tmp_path):
    path = palette_file(tmp_path / "a.dcm", np.zeros((300, 3), int), 8)
    with pytest.raises(ValueError, match="256 colours of 8 bits"):
        dicom.read_image(path)
    path = palette_file(tmp_path / "a.dcm", np.zeros((4, 3), int), 8)
    data = pydicom.dcmread(path)
    for colour in ("Red", "Green", "Blue"):
        delattr(data, f"{colour}PaletteColorLookupTableData")
        # One segment that claims 65,535 entries.
        segment = np.array([1, 65535, 255], np.uint16).tobytes()
        setattr(data, f"Segmented{colour}PaletteColorLookupTableData", segment)
    data.save_as(path)
    with pytest.raises(ValueError, match="segmented"):
        dicom.read_image(path)


def test_colour_is_read_as_colour(tmp_path):
    path = tmp_path / "a.dcm"
    dicom_writing.write_image(path, RAW)
    data = pydicom.dcmread(path)
    data.SamplesPerPixel, data.PlanarConfiguration, data.PhotometricInterpretation = 3, 0, "RGB"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = np.broadcast_to(np.array([10, 20, 30], dtype=np.uint8), (32, 32, 3)).tobytes()
    data.save_as(path)
    assert not is_grey(path)
    assert read_images([path], image_size=32, channels=3)[0, :, 5, 5].tolist() == [10, 20, 30]


def test_files_are_known_by_content_and_old_ones_by_ending(tmp_path):
    dicom_writing.write_image(tmp_path / "IM0001", RAW)
    assert (
        read_images([tmp_path / "IM0001"], image_size=32, channels=1).float().mean() == 178
    )  # −24 HU
    whole = (tmp_path / "IM0001").read_bytes()
    bare = pydicom.dcmread(tmp_path / "IM0001")
    bare.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    content = pydicom.filebase.DicomBytesIO()
    content.is_little_endian, content.is_implicit_VR = True, True
    pydicom.filewriter.write_dataset(content, bare)
    (tmp_path / "bare.dcm").write_bytes(
        content.getvalue()
    )  # no mark after 128 bytes, no file header
    assert b"DICM" in whole
    assert b"DICM" not in (tmp_path / "bare.dcm").read_bytes()
    assert dicom.read_hounsfield(tmp_path / "bare.dcm")[0, 0] == -24


def test_damaged_files_are_errors_that_say_so(tmp_path):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="cannot be decoded"):
        dicom.read_hounsfield(tmp_path / "a.dcm")
    for content in (b"", b"no dicom at all" * 100, whole[:200]):
        (tmp_path / "a.dcm").write_bytes(content)
        with pytest.raises(ValueError, match=r"no DICOM|damaged"):
            dicom.read_hounsfield(tmp_path / "a.dcm")


def test_without_pydicom_the_error_says_what_to_install(tmp_path, monkeypatch):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match="pip install pydicom"):
        dicom.read_header(tmp_path / "a.dcm")


def test_a_pydicom_without_what_is_needed_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW)
    monkeypatch.delattr(pydicom.filereader, "_read_command_set_elements")
    with pytest.raises(ImportError, match="_read_command_set_elements"):
        dicom.read_header(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Rows": 60_000, "Columns": 60_000}, "60,000 × 60,000 pixels"),
        ({"NumberOfFrames": 10**6}, "pixels; at most"),
        ({"SamplesPerPixel": ""}, None),
        ({"BitsStored": None}, "decoded"),
        ({"InstanceNumber": ""}, None),
    ],
)
def test_odd_headers_are_read_or_refused_in_words(tmp_path, tags, said):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW)
    path = change(tmp_path / "a.dcm", **tags)
    if said is None:
        assert is_grey(path)
        return
    with pytest.raises(ValueError, match=said):
        dicom.read_image(path)


@pytest.mark.parametrize("tag", ["Rows", "SamplesPerPixel", "NumberOfFrames"])
def test_two_numbers_where_one_is_needed(tmp_path, tag):
    dicom_writing.write_image(tmp_path / "a.dcm", RAW)
    path = change(tmp_path / "a.dcm", **{tag: [1, 2]})
    with pytest.raises(ValueError, match=rf"its {tag} is \[1, 2\]; one whole number is needed"):
        dicom.is_grey(path)
    with pytest.raises(ValueError, match=r"whole number|decoded"):
        dicom.read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_are_refused_with_one_kind_of_error(tmp_path):
    """pydicom reads tags when they are asked for, and raises many kinds where they are damaged."""
    dicom_writing.write_image(tmp_path / "a.dcm", RAW[:4], number=1, location=2.0, series="1.2.3")
    whole, rng = (tmp_path / "a.dcm").read_bytes(), np.random.default_rng(0)
    refused = 0
    functions = (
        dicom.is_grey,
        dicom.read_header,
        dicom.read_hounsfield,
        dicom.read_mask,
        dicom.read_image,
    )
    for number in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(128, len(whole), size=rng.choice([1, 4])):
            damaged[at] = rng.integers(256)
        (tmp_path / "a.dcm").write_bytes(damaged)
        try:
            functions[number % 5](tmp_path / "a.dcm")
        except ValueError:
            refused += 1
    assert refused > 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["window", "tables", "palette"])
def test_damaged_tables_and_windows_are_refused_with_one_kind_of_error(tmp_path, kind):
    path, rng = tmp_path / "a.dcm", np.random.default_rng(0)
    if kind == "palette":
        palette_file(path, rng.integers(0, 256, (8, 3)), 8)
    else:
        tags = {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}
        with_values(path, np.arange(9), 1.0, 0.0, **tags)
    if kind == "tables":
        tables = {"ModalityLUTSequence": lookup_table(0, range(8), depth=8)}
        change(path, **tables, VOILUTSequence=lookup_table(0, range(0, 999, 9)))
    whole = path.read_bytes()
    end, results = len(whole) - 32 * 32 * 2, set()
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(300, end, size=rng.choice([1, 4])):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            results.add(dicom.read_image(path).size)
        except ValueError as error:
            results.add(type(error))
    assert ValueError in results
