"""The Geneva form: small databases of every variant, with patches worked out by hand."""

import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest

from ccb_lib.datasets import ild
from ccb_lib.datasets.examples.ild import box, write_database, write_patient, write_rois
from ccb_lib.datasets.ild_files import patients
from ccb_lib.io.dicom_writing import write_image

RAW = 424  # −600 HU at slope 1 and intercept −1024


def slices(*regions, size=128, value=-600.0):
    return [(np.full((size, size), value), drawn) for drawn in regions]


def found(root, **options):
    """The ids and labels of all patches, with no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = ild.read(root, **options)
    assert images.skipped == ()
    return dict(zip(images.ids.tolist(), images.classes.tolist(), strict=True))


BOTH = pytest.mark.parametrize("source", ["text", "masks"])


@BOTH
def test_patches_by_hand(tmp_path, source):
    """64×64 px at (32, 32): offsets 32, 48 and 64 each way, nine patches. 48×40 px at (0, 0) on
    the second slice:
    columns 0 and 16 whole; rows 0 (32 of 32) and 16 (24 of 32, exactly 3/4): four patches. The same
    box shifted by one row down leaves rows 1…40: 31 of 32 and 25 of 32 rows, still four.
    """
    write_patient(
        tmp_path,
        "3",
        slices(
            {"fibrosis": [box(32, 32, 96, 96)]},
            {
                "healthy": [box(0, 0, 48, 40)],
                "emphysema": [box(64, 64, 96, 96), box(96, 96, 128, 128)],
            },
        ),
        spacing=(0.7, 0.9),
    )
    expected = {
        f"3/CT-0001-0001:{row},{column}": "fibrosis"
        for row in (32, 48, 64)
        for column in (32, 48, 64)
    }
    expected |= {
        f"3/CT-0001-0002:{row},{column}": "healthy" for row in (0, 16) for column in (0, 16)
    }
    expected |= {"3/CT-0001-0002:64,64": "emphysema", "3/CT-0001-0002:96,96": "emphysema"}
    assert found(tmp_path, source=source) == expected


def test_the_masks_are_what_was_meant(tmp_path):
    """The generator draws its masks with the code under test: here is what they must be, set by
    slices."""
    write_patient(
        tmp_path, "1", slices({"fibrosis": [box(32, 16, 96, 96)]}), lung=[box(0, 0, 128, 100)]
    )
    mask = pydicom.dcmread(tmp_path / "ILD_DB_volumeROIs/1/roi_mask/roi_mask_1_01.dcm").pixel_array
    lung = pydicom.dcmread(tmp_path / "ILD_DB_lungMasks/1/lung_mask/lung_mask_1_01.dcm").pixel_array
    expected = np.zeros((128, 128), dtype=int)
    expected[16:96, 32:96] = 4
    np.testing.assert_array_equal(mask, expected)
    assert lung.sum() == 100 * 128
    assert lung[:100].all()


@BOTH
def test_pixels_are_windowed_hounsfield_units(tmp_path, source):
    hounsfield = np.full((64, 64), -600.0)
    hounsfield[:, 32:] = np.nan  # padding, raw −2000: set to 0, so −1024 HU
    write_patient(tmp_path, "1", [(hounsfield, {"healthy": [box(0, 0, 64, 64)]})])
    images = ild.read(tmp_path, source=source)
    assert images.pixels.shape == (9, 1, 32, 32)
    by_id = dict(zip(images.ids.tolist(), images.pixels, strict=True))
    assert set(by_id["1/CT-0001-0001:0,0"].ravel().tolist()) == {round(400 / 1400 * 255)}
    assert set(by_id["1/CT-0001-0001:0,32"].ravel().tolist()) == {0}
    wide = ild.read(tmp_path, source=source, window=(-1200, 200))
    values = dict(zip(wide.ids.tolist(), wide.pixels, strict=True))
    assert set(values["1/CT-0001-0001:0,0"].ravel().tolist()) == {round(600 / 1400 * 255)}
    assert set(values["1/CT-0001-0001:0,32"].ravel().tolist()) == {round(176 / 1400 * 255)}


@BOTH
def test_slope_and_intercept_are_applied(tmp_path, source):
    write_patient(tmp_path, "1", slices({"healthy": [box(0, 0, 32, 32)]}, size=64))
    for path in tmp_path.rglob("CT-*.dcm"):
        data = pydicom.dcmread(path)
        data.RescaleSlope, data.RescaleIntercept = 2, -1000
        data.save_as(path)
    assert ild.read(tmp_path, source=source).pixels[0, 0, 0, 0] == round(
        (2 * RAW - 1000 + 1000) / 1400 * 255
    )


@BOTH
def test_patches_lie_in_the_lung_where_a_mask_is_given(tmp_path, source):
    write_patient(
        tmp_path, "1", slices({"healthy": [box(0, 0, 64, 64)]}, size=64), lung=[box(0, 0, 64, 48)]
    )
    write_patient(tmp_path, "2", slices({"healthy": [box(0, 0, 64, 64)]}, size=64))
    expected = {f"1/CT-0001-0001:{row},{column}" for row in (0, 16) for column in (0, 16, 32)}
    expected |= {f"2/CT-0001-0001:{row},{column}" for row in (0, 16, 32) for column in (0, 16, 32)}
    assert set(found(tmp_path, source=source)) == expected


@BOTH
@pytest.mark.parametrize("told_by", ["folder", "uid"])
def test_series_folders_big_slices_other_names_and_the_pilot(tmp_path, source, told_by):
    one = {"healthy": [box(0, 0, 32, 32)]}
    write_patient(tmp_path, "7/series_1", slices({}, one), lung=[box(0, 0, 64, 64)])
    write_patient(
        tmp_path, "7/series_2", slices({"fibrosis": [box(0, 0, 32, 32)]}), lung=[box(0, 0, 20, 20)]
    )
    write_patient(tmp_path, "8", slices({"pcp": [box(736, 736, 768, 768)]}, size=768))
    write_patient(tmp_path, "9", slices(one, size=512))
    write_patient(tmp_path, "HRCT_pilot/1", slices({"cysts": [box(0, 0, 32, 32)]}))
    for path in sorted(tmp_path.rglob("lung_mask_7*.dcm")):  # which series a lung mask belongs to
        if told_by == "folder":
            data = pydicom.dcmread(path)
            del data.SeriesInstanceUID
            data.save_as(path)
        else:
            path.rename(
                tmp_path / "ILD_DB_lungMasks/7" / f"lung_mask_{path.parent.parent.name}_{path.name}"
            )
    for path in tmp_path.rglob("8/CT-*.dcm"):
        path.rename(path.with_name("CT.1.2.840.113619.2.dcm"))
    for path in tmp_path.rglob("9/CT-*.dcm"):
        path.rename(path.with_name("SerieCT-0001.dcm"))
    got = found(tmp_path, source=source)
    assert got == {
        "7/series_1/CT-0001-0002:0,0": "healthy",
        # series_2 has a lung mask of its own, and its patch lies outside it
        "8/CT.1.2.840.113619.2:736,736": "pcp",
        "9/SerieCT-0001:0,0": "healthy",
    }
    assert ild.read(tmp_path, source=source).groups.tolist() == ["7", "8", "9"]
    with_pilot = found(tmp_path, source=source, pilot=True)
    assert with_pilot["HRCT_pilot/1/CT-0001-0001:0,0"] == "cysts"


def test_a_patients_folder_may_have_any_name(tmp_path):
    for name in ("10", "9", "²"):
        (tmp_path / name).mkdir()
    assert [name for name, _ in patients(tmp_path)] == ["9", "10", "²"]


def test_a_text_file_above_its_series_is_matched_by_uid(tmp_path):
    write_patient(tmp_path, "7/series_1", slices({"fibrosis": [box(0, 0, 32, 32)]}))
    write_patient(tmp_path, "7/series_2", slices({"healthy": [box(0, 0, 64, 32)]}))
    folder = tmp_path / "ILD_DB_txtROIs/7"
    for file in folder.rglob("*.txt"):
        file.rename(folder / file.name)
    assert sorted(found(tmp_path).items()) == [
        ("7/series_1/CT-0001-0001:0,0", "fibrosis"),
        ("7/series_2/CT-0001-0001:0,0", "healthy"),
        ("7/series_2/CT-0001-0001:0,16", "healthy"),
        ("7/series_2/CT-0001-0001:0,32", "healthy"),
    ]


@pytest.mark.parametrize(
    "numbers", [(1, 2, 3), (0, 1, 2), (101, 102, 103), (None, None, None), (5, 5, 5)]
)
def test_slices_are_counted_from_one(tmp_path, numbers):
    folder = tmp_path / "ILD_DB_txtROIs/1"
    for k, number in enumerate(numbers):
        raw = np.full((64, 64), RAW + 100 * k, dtype=np.int16)
        write_image(folder / f"CT-0001-{k + 1:04d}.dcm", raw, number=number, series="1.2.3")
    write_rois(folder / "CT-INSPIRIUM-1.txt", [("healthy", 2, box(0, 0, 32, 32))])
    assert found(tmp_path) == {"1/CT-0001-0002:0,0": "healthy"}


def test_a_lost_slice_does_not_shift_the_others(tmp_path):
    write_patient(tmp_path, "1", slices({}, {}, {"healthy": [box(0, 0, 32, 32)]}))
    (tmp_path / "ILD_DB_txtROIs/1/CT-0001-0001.dcm").unlink()
    assert found(tmp_path) == {"1/CT-0001-0003:0,0": "healthy"}


def problem(root, source="text"):
    """What is skipped, at the first load and, from the cache, at the second."""
    images = ild.read(root, source=source)
    assert ild.read(root, source=source).skipped == images.skipped
    assert set(images.ids) == {"2/CT-0001-0001:0,0"}  # nothing else is lost
    assert len(images.skipped) == 1
    return images.skipped[0]


@pytest.fixture
def two(tmp_path):
    """Patient 1, to be broken, and patient 2, whose one patch must always be found."""
    for patient in ("1", "2"):
        write_patient(tmp_path, patient, slices({"healthy": [box(0, 0, 32, 32)]}))
    return tmp_path


def test_a_malformed_roi_file_is_named(two):
    file = two / "ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt"
    file.write_text(file.read_text().replace("contour: 4", "contour: 5"))
    assert problem(two).startswith("ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt: line ")


def test_a_slice_without_slope_is_named(two):
    path = two / "ILD_DB_txtROIs/1/CT-0001-0001.dcm"
    data = pydicom.dcmread(path)
    del data.RescaleSlope
    data.save_as(path)
    assert "CT-0001-0001.dcm: it has no RescaleSlope" in problem(two)
    assert "1 patches are left out" in problem(two)


def test_a_mask_without_slice_is_named(two):
    path = two / "ILD_DB_volumeROIs/1/roi_mask/roi_mask_1_01.dcm"
    data = pydicom.dcmread(path)
    data.SliceLocation = 123.5
    data.save_as(path)
    assert problem(two, "masks").endswith(
        "roi_mask_1_01.dcm: a mask without its one slice: 0 slices at 123.5 mm"
    )


def test_an_unknown_label_is_named(two):
    file = two / "ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt"
    file.write_text(file.read_text().replace("label: healthy", "label: dragon"))
    assert problem(two).endswith("unknown label 'dragon'")
    path = two / "ILD_DB_volumeROIs/1/roi_mask/roi_mask_1_01.dcm"
    write_image(path, np.full((128, 128), 18, dtype=np.int16), location=-10.0, series="1.9")
    assert problem(two, "masks").endswith("roi_mask_1_01.dcm: unknown label number 18")


def test_other_things_that_do_not_fit_are_named(two):
    file = two / "ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt"
    good = file.read_text()
    for old, new, why in [
        ("slice_number: 1", "slice_number: 9", "there is no slice 9"),
        ("32.0 32.0", "32.0 900.0", "beyond the slice of 128×128 px"),
    ]:
        file.write_text(good.replace(old, new))
        assert why in problem(two)
    file.write_text(good)
    slice_ = two / "ILD_DB_txtROIs/1/CT-0001-0001.dcm"
    slice_.write_bytes(b"x" * 500)
    images = ild.read(two)
    assert set(images.ids) == {"2/CT-0001-0001:0,0"}
    assert [line.split(":")[0] for line in images.skipped] == [
        "ILD_DB_txtROIs/1/CT-0001-0001.dcm",
        "ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt",
    ]


def test_a_lung_mask_of_another_size_is_named_and_not_used(two):
    path = two / "ILD_DB_lungMasks/1/lung_mask/lung_mask_1_01.dcm"
    write_image(path, np.zeros((64, 64), dtype=np.int16), location=-10.0)
    images = ild.read(two)
    assert len(images) == 2
    assert images.skipped == (
        "ILD_DB_txtROIs/1/CT-0001-0001.dcm: the size of its lung mask is (64, 64); "
        "it is cut without it",
    )


def test_load_warns_of_all_that_was_skipped_every_time(tmp_path):
    root = write_database(tmp_path, size=192, patients=8, slices=1)
    file = root / "ILD_DB_txtROIs/1/CT-INSPIRIUM-1.txt"
    file.write_text(file.read_text().replace("label: healthy", "label: dragon", 1))
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"2 things could not be used:\n.*CT-INSPIRIUM-1\.txt.*dragon"
        ):
            ild.load(abnormal="ground_glass", root=root)


@BOTH
def test_patients_stay_on_one_side_and_training_never_changes(tmp_path, source):
    root = write_database(tmp_path, size=160, patients=10, slices=1)
    train = set()
    for abnormal in ild.PAPER_CLASSES:
        split = ild.load(abnormal=abnormal, root=root, source=source, seed=4)
        sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
        assert len(set.union(*sides)) == sum(map(len, sides))  # none is on two sides
        assert sides[0] | sides[1] <= {"1", "2", "3", "4", "5"}  # the healthy half
        assert split.test_labels.sum() == (~split.test_labels).sum()
        assert set(split.test_classes[split.test_labels]) == {abnormal}
        assert split.train.shape[1:] == (1, 32, 32)
        train.add(tuple(split.train_ids))
    assert len(train) == 1
    natural = ild.load(abnormal=abnormal, root=root, source=source, seed=4, test="natural")
    assert (~natural.test_labels).sum() > natural.test_labels.sum()


DISEASES = ("fibrosis", "micronodules", "emphysema", "ground_glass", "fibrosis", "micronodules")


def write_ill(root, diseases):
    """Patients who all have healthy tissue on the left (27 patches) and disease on the right (18
    for each named)."""
    for patient, ill in enumerate(diseases, start=1):
        regions = {"healthy": [box(0, 0, 64, 160)]}
        regions |= {label: [box(80 + 64 * k, 0, 128 + 64 * k, 160)] for k, label in enumerate(ill)}
        write_patient(root, str(patient), slices(regions, size=224))
    return root


@BOTH
def test_six_ill_patients_load_for_one_class_at_a_time(tmp_path, source):
    """Two patients at most are held out, so no split can test all four diseases."""
    root = write_ill(tmp_path, [(label,) for label in DISEASES])
    for abnormal in ild.PAPER_CLASSES:
        split = ild.load(abnormal=abnormal, root=root, source=source, test="natural", seed=3)
        sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
        assert len(set.union(*sides)) == sum(map(len, sides)) == 6
        assert len(split.train) == 27 * len(sides[0])
        assert set(split.test_classes[split.test_labels]) == {abnormal}
        ill = {str(k) for k, label in enumerate(DISEASES, start=1) if label == abnormal}
        assert ill <= sides[2]  # none of the patches asked for is lost
        assert f"the split is for {abnormal} only" in split.notes[0]
        lost = Counter(DISEASES[int(patient) - 1] for patient in sides[0] | sides[1])
        counts = ", ".join(f"{18 * count} {label}" for label, count in sorted(lost.items()))
        assert split.notes[0].endswith(f"left out: {counts}.")
        assert split.notes[0] in repr(split)


def test_diseased_patches_of_patients_who_train_are_left_out_and_counted(tmp_path):
    root = write_ill(tmp_path, [("fibrosis",)] * 6)
    split = ild.load(abnormal="fibrosis", root=root, test="natural")
    sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
    assert sorted(map(len, sides)) == [1, 2, 3]
    assert split.test_labels.sum() == 18 * len(sides[2])
    assert f"left out: {18 * (len(sides[0]) + len(sides[1]))} fibrosis." in split.notes[0]
    assert "only" not in split.notes[0]  # the one class there is was tested on by the common split


def test_where_all_classes_can_be_tested_the_training_is_the_same_for_all(tmp_path):
    root = write_ill(tmp_path, [("fibrosis", "emphysema")] * 5)
    splits = [
        ild.load(abnormal=abnormal, root=root, test="natural")
        for abnormal in ("fibrosis", "emphysema")
    ]
    assert splits[0].train_ids.tolist() == splits[1].train_ids.tolist()
    assert all("only" not in split.notes[0] for split in splits)


def test_a_database_with_healthy_patients_is_split_as_before(tmp_path):
    root = write_database(tmp_path, size=160, patients=10, slices=1)
    assert ild.load(abnormal="fibrosis", root=root).notes == ()


def test_the_database_may_lie_deeper_and_errors_say_what_is_missing(tmp_path):
    write_patient(tmp_path / "ild/ILD_DB", "1", slices({"healthy": [box(0, 0, 32, 32)]}))
    assert list(found(tmp_path)) == ["1/CT-0001-0001:0,0"]
    with pytest.raises(FileNotFoundError, match="No ILD_DB_txtROIs in"):
        ild.read(tmp_path / "ild/ILD_DB/ILD_DB_volumeROIs")
    with pytest.raises(ValueError, match="At least three groups"):
        ild.load(abnormal="fibrosis", root=tmp_path)
    for options, message in [
        ({"abnormal": "healthy"}, "Choose one of: emphysema"),
        ({"abnormal": "fibrosis", "source": "pdf"}, "source='pdf'"),
        ({"abnormal": "fibrosis", "test": "all"}, "test='all'"),
        ({"abnormal": "fibrosis", "window": (400, -1000)}, "the lower value comes first"),
        (
            {"abnormal": "fibrosis", "source": "lung_ct_98"},
            "Choose one of: ground_glass, consolidation",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            ild.load(root=tmp_path, **options)


def test_a_database_without_any_patch_says_why(tmp_path):
    write_patient(tmp_path, "1", slices({"healthy": [box(0, 0, 20, 20)]}))
    with pytest.raises(ValueError, match=r"No patch could be cut from .* \(1 patients\)"):
        ild.read(tmp_path)
