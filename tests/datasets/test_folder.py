"""A user's own images, in folders and by a table."""

import numpy as np
import pytest
from PIL import Image

from ccb_lib import load_dataset
from ccb_lib.datasets import folder
from ccb_lib.io import dicom_writing


def picture(path, value=100, size=(32, 32), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)
    return path


@pytest.fixture
def own(tmp_path):
    for k in range(20):
        picture(tmp_path / f"train/normal/{k}.png", value=k)
    for k in range(4):
        picture(tmp_path / f"test/normal/more/{k}.png", value=100 + k)
    for k in range(3):
        picture(tmp_path / f"test/abnormal/{k}.png", value=200 + k)
    return tmp_path


def values(images):
    return sorted(images[:, 0, 0, 0].tolist())


def test_folders_become_a_split(own):
    split = folder.load(root=own)
    assert split.name == "folder"
    assert split.abnormal == "abnormal"
    assert (split.channels, split.image_size) == (1, 32)
    assert sorted(values(split.train) + values(split.calibration)) == list(range(20))
    assert len(split.calibration) == 2  # a tenth
    assert values(split.test[~split.test_labels]) == [100, 101, 102, 103]
    assert values(split.test[split.test_labels]) == [200, 201, 202]
    assert split.test_ids[split.test_labels].tolist()[0].startswith("test/abnormal/")
    assert set(split.test_classes) == {"normal", "abnormal"}
    for pixels, name in zip(split.train, split.train_ids, strict=True):
        assert name == f"train/normal/{pixels[0, 0, 0]}.png"


def test_seeds_choose_the_calibration_images(own):
    assert (
        folder.load(root=own, seed=1).calibration_ids.tolist()
        == folder.load(root=own, seed=1).calibration_ids.tolist()
    )
    assert len({tuple(folder.load(root=own, seed=seed).calibration_ids) for seed in range(5)}) > 1


def test_several_kinds_of_abnormal_images(own):
    picture(own / "test/crack/9.png", value=250)
    assert values(folder.load(root=own, abnormal="crack").test[4:]) == [250]
    assert values(folder.load(root=own, abnormal="crack+abnormal").test[4:]) == [200, 201, 202, 250]
    with pytest.raises(ValueError, match="Choose one of: abnormal, crack"):
        folder.load(root=own, abnormal="scratch")


def test_every_kind_of_image_in_one_folder(own):
    picture(own / "train/normal/big.jpg", size=(300, 200))
    picture(own / "train/normal/clear.png", mode="RGBA")
    Image.fromarray(np.full((50, 40), 30000, dtype=np.uint16)).save(own / "train/normal/deep.png")
    dicom_writing.write_image(
        own / "train/normal/slice.dcm", np.full((64, 64), 1000, dtype=np.int16)
    )
    dicom_writing.write_image(own / "train/normal/IM0001", np.full((64, 64), 1000, dtype=np.int16))
    split = folder.load(root=own, image_size=64)
    assert split.train.shape[1:] == (3, 64, 64)  # one image has colours
    value = dict(
        zip(
            [*split.train_ids.tolist(), *split.calibration_ids.tolist()],
            [*split.train[:, 0, 5, 5].tolist(), *split.calibration[:, 0, 5, 5].tolist()],
            strict=True,
        )
    )
    assert value["train/normal/deep.png"] == round(30000 / 65535 * 255)
    assert (
        value["train/normal/slice.dcm"] == value["train/normal/IM0001"] == 178
    )  # −24 HU of −1000…400
    assert folder.load(root=own, image_size=64, channels=1).channels == 1


def test_other_files_are_named_and_hidden_ones_passed_over(own):
    (own / "train/normal/notes.txt").write_text("by hand")
    (own / "train/normal/.DS_Store").write_text("x")
    with pytest.warns(UserWarning, match=r"1 files in .* left out: notes\.txt") as warned:
        folder.load(root=own)
    assert "DS_Store" not in str(warned[0].message)


def test_all_unreadable_files_are_named_in_one_error(own):
    (own / "train/normal/3.png").write_bytes(b"broken")
    (own / "test/abnormal/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 27 images cannot be read") as error:
        folder.load(root=own)
    assert "train/normal/3.png" in str(error.value)
    assert "test/abnormal/1.png" in str(error.value)


def test_a_changed_image_is_read_anew(own):
    folder.load(root=own)
    picture(own / "test/abnormal/1.png", value=77)
    assert 77 in values(folder.load(root=own).test)


def test_wrong_folders_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="No folder or CSV file at"):
        folder.load(root=tmp_path / "none")
    with pytest.raises(ValueError, match="root= is needed"):
        folder.load()
    with pytest.raises(
        ValueError, match="holds no folders; train/normal, test/normal and test/abnormal are needed"
    ):
        folder.load(root=tmp_path)
    picture(tmp_path / "train/good/1.png")
    picture(tmp_path / "test/abnormal/1.png")
    with pytest.raises(ValueError, match="Choose one of: good"):
        folder.load(root=tmp_path)


@pytest.fixture
def table(tmp_path):
    lines = ["path,label,group"]
    for patient in range(10):
        for k in range(3):
            picture(tmp_path / f"scans/{patient}_{k}.png", value=10 * patient + k)
            label = "lesion" if patient == 7 and k == 0 else "normal"
            lines.append(f"scans/{patient}_{k}.png,{label},p{patient}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "labels.csv"


def load_table(table, **options):
    return folder.load(root=table, abnormal="lesion", **options)


@pytest.mark.parametrize("seed", range(10))
def test_a_patient_stays_on_one_side(table, seed):
    split = load_table(table, seed=seed)
    sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
    assert len(set.union(*sides)) == sum(map(len, sides))  # none is on two sides
    assert "p7" in sides[2]
    assert values(split.test[split.test_labels]) == [70]
    assert {71, 72} <= set(values(split.test[~split.test_labels]))
    assert (~split.test_labels).sum() >= 0.2 * 29
    assert len(split.train) + len(split.calibration) + len(split.test) == 30


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_marks_and_orders_are_understood(table, mark):
    rows = [line.split(",") for line in table.read_text().splitlines()]
    text = "\n".join(mark.join([group.title(), label, path]) for path, label, group in rows)
    table.write_text("\ufeff" + text.replace("Group", "GROUP", 1), encoding="utf-8")
    assert len(load_table(table).test) >= 7


def test_a_comma_in_another_column_does_not_separate(table):
    lines = [line.replace(",", ";") + ";61, female" for line in table.read_text().splitlines()]
    lines[0] = "path;label;group;age, sex"
    table.write_text("\n".join(lines))
    assert len(load_table(table).test) >= 7


def test_labels_left_out_are_named(table):
    table.write_text(table.read_text().replace("scans/2_0.png,normal", "scans/2_0.png,unsure"))
    with pytest.warns(UserWarning, match="left out: 1 'unsure'"):
        split = load_table(table)
    assert len(split.train) + len(split.calibration) + len(split.test) == 29
    assert 20 not in values(split.train)
    assert {"p2"} <= set(split.test_groups)  # not known to be normal, so not trained on


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("../secret.png,normal,p1", r"line 32: \.\./secret\.png lies outside the folder"),
        ("/etc/hostname,normal,p1", "line 32: /etc/hostname lies outside"),
        ("scans/../../secret.png,normal,p1", "lies outside"),
        (r"..\secret.png,normal,p1", "lies outside"),
        ("C:\\secret.png,normal,p1", "lies outside"),
        ("scans/none.png,normal,p1", "there is no such file"),
        ("scans/1_1.png,normal,p1", "is already in line 6"),
        ("./scans/1_1.png,lesion,p1", "is already in line 6"),
        (",normal,p1", "path or label is empty"),
        ("scans/1_1.png,,p1", "path or label is empty"),
        ("scans\0,normal,p1", "line 32"),
    ],
)
def test_broken_rows_are_named(table, line, problem):
    picture(table.parent.parent / "secret.png")
    table.write_text(table.read_text() + "\n" + line)
    with pytest.raises(ValueError, match=problem) as error:
        load_table(table)
    assert "1 of 31 rows cannot be used" in str(error.value)


def test_a_link_out_of_the_folder_is_outside(table, tmp_path_factory):
    outside = picture(tmp_path_factory.mktemp("elsewhere") / "secret.png")
    (table.parent / "scans/link.png").symlink_to(outside)
    table.write_text(table.read_text() + "\nscans/link.png,normal,p1")
    with pytest.raises(ValueError, match=r"scans/link\.png lies outside the folder"):
        load_table(table)


@pytest.mark.parametrize("content", ["", "path;name\na.png;x", b"\xff\xfe\x00path", "path,label\n"])
def test_what_is_no_table_is_explained(tmp_path, content):
    file = tmp_path / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        ValueError,
        match=r"columns path and label|cannot be read as a table|has a header but no rows",
    ):
        load_table(file)


def test_too_few_groups_are_explained(tmp_path):
    for k in range(4):
        picture(tmp_path / f"{k}.png")
    (tmp_path / "t.csv").write_text(
        "path,label,group\n0.png,normal,a\n1.png,normal,b\n2.png,lesion,b\n3.png,normal,a"
    )
    with pytest.raises(ValueError, match="At least three groups are needed"):
        load_table(tmp_path / "t.csv")


def test_normal_images_alone_make_a_split_without_abnormal_ones(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(20):
        path = tmp_path / "train/normal" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
    split = load_dataset("folder", root=tmp_path)
    assert (len(split.train), len(split.calibration), len(split.test)) == (18, 2, 0)
    assert split.test.shape == (0, 1, 32, 32)
    assert split.abnormal == ""
    lines = ["path,label"] + [f"train/normal/{k}.png,normal" for k in range(20)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    split = load_dataset("folder", root=tmp_path / "table.csv")
    assert len(split.train) + len(split.calibration) + len(split.test) == 20
    assert not split.test_labels.any()
    (tmp_path / "table.csv").write_text("\n".join([*lines[:-1], "train/normal/19.png,odd"]))
    with pytest.raises(ValueError, match="Which class"):  # there is another label
        load_dataset("folder", root=tmp_path / "table.csv")
