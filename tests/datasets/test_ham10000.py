"""HAM10000: a made-up table in every layout, and the real images where they are at hand."""

import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ccb_lib.datasets import ham10000
from ccb_lib.datasets.base import Images
from ccb_lib.datasets.catalog import ENTRIES
from ccb_lib.io.image_files import read_images

KNOWN = ENTRIES["ham10000"].known
HEADER = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def rows(lesions=40):
    """Each lesion has one to three images; every fifth is df, others alternate nv, bkl and mel."""
    table, image = [], 0
    for lesion in range(lesions):
        dx = "df" if lesion % 5 == 0 else ("nv", "bkl", "mel")[lesion % 3]
        for _ in range(1 + lesion % 3):
            table.append(
                (f"HAM_{lesion:07d}", f"ISIC_{image:07d}", dx, "histo", "50.0", "male", "back")
            )
            image += 1
    return table


def write(root, table, name="HAM10000_metadata.csv", mark=",", folders=("part_1", "part_2")):
    root.mkdir(parents=True, exist_ok=True)
    quote = '"{}"'.format if mark == "\t" else str
    lines = [mark.join(quote(cell) for cell in row) for row in [HEADER, *table]]
    (root / name).write_text("\n".join(lines), encoding="utf-8")
    for k, row in enumerate(table):
        folder = root / folders[k % len(folders)]
        folder.mkdir(parents=True, exist_ok=True)
        image = np.full((30, 40, 3), k % 256, dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{row[1]}.jpg", quality=95)
    return root


@pytest.mark.parametrize(
    ("name", "mark", "folders"),
    [
        ("HAM10000_metadata.csv", ",", ("images",)),
        ("HAM10000_metadata", ",", ("HAM10000_images_part_1", "HAM10000_images_part_2")),
        ("HAM10000_metadata.tab", "\t", (".", "deep/down/below")),
    ],
)
def test_every_layout_loads_alike(tmp_path, name, mark, folders):
    root = write(tmp_path / "ham10000", rows(), name, mark, folders)
    for given_root in (tmp_path, root):
        split = ham10000.load(abnormal="df", root=given_root)
        assert (
            split.test_labels.sum() == 16
        )  # lesions 0, 5, …, 35 hold 1 + lesion mod 3: 1 3 2 1 3 2 1 3
        assert (~split.test_labels).sum() == 16
        for name_, pixels in zip(split.train_ids, split.train, strict=True):
            assert abs(pixels.float().mean() - int(name_[5:])) < 2  # each id has its own pixels


def test_copies_in_two_folders_count_once(tmp_path):
    root = write(tmp_path, rows(), folders=("images",))
    shutil.copytree(root / "images", root / "Images_again")
    assert len(ham10000.read(root)) == len(rows())


def test_the_second_load_decodes_nothing(tmp_path, monkeypatch):
    root = write(tmp_path, rows())
    first = ham10000.load(abnormal="df", root=root)
    monkeypatch.setattr(ham10000, "read_images", None)  # calling it would fail
    second = ham10000.load(abnormal="df", root=root)
    assert (first.train == second.train).all()
    assert first.train_groups.tolist() == second.train_groups.tolist()
    with pytest.raises(TypeError):
        ham10000.load(abnormal="df", root=root, image_size=64)  # other settings, another cache


def test_missing_and_unreadable_images_are_all_named(tmp_path):
    root = write(tmp_path, rows())
    (root / "part_1/ISIC_0000004.jpg").unlink()
    (root / "part_2/ISIC_0000011.jpg").unlink()
    with pytest.raises(ValueError, match=r"2 of 79 images .* ISIC_0000004, ISIC_0000011"):
        ham10000.load(abnormal="df", root=root)
    write(tmp_path, rows())
    (root / "part_1/ISIC_0000004.jpg").write_bytes(b"broken")
    (root / "part_2/ISIC_0000011.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 79 images cannot be read") as error:
        ham10000.load(abnormal="df", root=root)
    assert "ISIC_0000004" in str(error.value)
    assert "ISIC_0000011" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("dx,", "diagnosis,"), "no column dx"),
        (lambda text: text.replace(",df,", ",xyz,", 1), "line 2.*diagnosis 'xyz'"),
        (lambda text: text.replace("HAM_0000001", "", 1), "line 3: no lesion"),
        (
            lambda text: text.replace("ISIC_0000002", "ISIC_0000001", 1),
            "line 4: ISIC_0000001 is already in line 3",
        ),
        (lambda text: text.splitlines()[0], "no rows"),
    ],
)
def test_broken_metadata_is_explained(tmp_path, change, message):
    root = write(tmp_path, rows())
    file = root / "HAM10000_metadata.csv"
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=message):
        ham10000.load(abnormal="df", root=root)


def test_wrong_requests_are_explained(tmp_path):
    root = write(tmp_path, rows())
    for options, message in [
        ({"abnormal": "melanoma"}, "Choose one of: akiec, bcc"),
        ({"abnormal": "mel"}, "mel cannot be normal and abnormal at once"),
        ({"abnormal": "df", "test": "all"}, "'balanced' or 'natural'"),
        ({"abnormal": "df+bkl+mel", "normal": "nv", "pool": 3}, r"Pass pool=\d+"),
        ({"abnormal": "vasc"}, "There are no images of vasc"),
    ]:
        with pytest.raises(ValueError, match=message):
            ham10000.load(root=root, **options)
    with pytest.raises(FileNotFoundError, match="HAM10000_metadata"):
        ham10000.load(abnormal="df", root=tmp_path / "part_1")


lesions = st.lists(
    st.tuples(st.sampled_from(ham10000.CLASSES), st.integers(1, 6)), min_size=5, max_size=60
)  # fmt: skip


def load_table(table, **options):
    """Load a made-up table without any files."""
    groups = [f"HAM_{k}" for k, (_, count) in enumerate(table) for _ in range(count)]
    images = Images(
        pixels=np.zeros((len(groups), 3, 32, 32), dtype=np.uint8),
        ids=np.array([f"ISIC_{k}" for k in range(len(groups))], dtype=np.str_),
        classes=np.array([dx for dx, count in table for _ in range(count)], dtype=np.str_),
        groups=np.array(groups, dtype=np.str_),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ham10000, "read", lambda root, image_size: images)
        return ham10000.load(**options)


def check_sides(split):
    sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
    assert len(set.union(*sides)) == sum(map(len, sides))  # none is on two sides


@given(lesions, st.integers(0, 2**31), st.sampled_from(["akiec", "bcc", "df", "vasc"]))
def test_no_lesion_is_on_two_sides_whatever_the_table_and_the_seed(table, seed, abnormal):
    try:
        split = load_table(table, abnormal=abnormal, seed=seed)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "too few" in refused or "There are no images of" in refused
        return
    check_sides(split)
    size = sum(count for dx, count in table if dx == abnormal)
    assert split.test_labels.tolist() == [False] * size + [True] * size


@given(lesions, st.integers(0, 1000))
def test_the_training_set_is_the_same_whichever_class_is_asked_for(table, seed):
    seen = set()
    for abnormal in ("akiec", "bcc", "df", "vasc"):
        try:
            split = load_table(table, abnormal=abnormal, seed=seed)
        except ValueError:
            continue
        seen.add((tuple(split.train_ids), tuple(split.calibration_ids)))
    assert len(seen) <= 1


# ── the real images ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real(ham10000_folder):
    table, paths, missing = ham10000.find(ham10000_folder)
    assert missing == []
    return table, paths


def load_real(table, **options):
    """Split the real table without decoding 10,015 images."""
    images = Images(
        pixels=np.zeros((len(table["dx"]), 1, 1, 1), dtype=np.uint8),
        ids=table["image_id"],
        classes=table["dx"],
        groups=table["lesion_id"],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ham10000, "read", lambda root, image_size: images)
        return ham10000.load(**options)


def test_real_counts(real):
    table, paths = real
    assert Counter(table["dx"].tolist()) == KNOWN
    assert len(paths) == 10015
    assert len(set(table["lesion_id"])) == 7470


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["akiec", "bcc", "df", "vasc"]),
    st.sampled_from([("nv", "bkl", "mel"), "nv"]),
)
def test_real_lesions_stay_on_one_side_for_any_seed(real, seed, abnormal, normal):
    split = load_real(real[0], abnormal=abnormal, normal=normal, seed=seed)
    whole = load_real(real[0], abnormal=abnormal, normal=normal, seed=seed, test="natural")
    check_sides(split)
    check_sides(whole)
    assert split.train_ids.tolist() == whole.train_ids.tolist()
    assert split.test_labels.sum() == (~split.test_labels).sum() == KNOWN[abnormal]
    largest = 514 if normal != "nv" else 1113
    assert largest <= (~whole.test_labels).sum() <= largest + 5  # lesions have at most six images
    normals = sum(KNOWN[name] for name in ([normal] if normal == "nv" else normal))
    assert len(whole.train) + len(whole.calibration) + (~whole.test_labels).sum() == normals


def test_real_images_decode(real):
    """A few, as all take seconds: bright, coloured, centred on the lesion that is darker than the
    skin around it."""
    images = read_images(real[1][::200], image_size=64, channels=3).float()
    assert images.shape == (51, 3, 64, 64)
    assert images.mean() > 100
    assert images[:, 0].mean() > images[:, 2].mean() + 10  # skin is red rather than blue
    assert images[:, :, 24:40, 24:40].mean() < images[:, :, :8, 28:36].mean() - 10


def test_real_df_is_115_and_115(real):
    split = load_real(real[0], abnormal="df")
    assert (split.test_labels.sum(), (~split.test_labels).sum()) == (115, 115)
    assert set(split.test_classes[split.test_labels]) == {"df"}
    check_sides(split)
