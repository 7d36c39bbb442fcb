"""Br35H: groups, controls and facts on images made here, and the counts of the real set where it
is at hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ccb_lib import load_dataset
from ccb_lib.datasets import brain_mri
from ccb_lib.datasets import brain_mri_controls as controls

KINDS = [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L")]


def head(rng, size):
    """A bright head of coarse structure on a background that is nearly black."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    coarse = Image.fromarray(rng.integers(90, 256, (9, 9), dtype=np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    inside = np.hypot((rows / size[1] - 0.5) / 0.42, (columns / size[0] - 0.5) / 0.35) <= 1
    return np.where(inside, np.asarray(coarse), 6).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two classes of 16 heads, every fourth of them twice; all files are named .jpg, whatever they
    hold."""
    folder = tmp_path_factory.mktemp("raw") / "brain-mri"
    rng = np.random.default_rng(0)
    for name in ("no", "yes"):
        (folder / name).mkdir(parents=True)
        for k in range(16):
            grey = head(rng, (150 + 10 * (k % 3), 160))
            for copy in range(1 + (k % 4 == 0)):
                kind, mode = KINDS[(k + copy) % len(KINDS)]
                image = Image.fromarray(
                    np.minimum(grey.astype(int) + copy, 255).astype(np.uint8)
                ).convert(mode)
                image.save(folder / name / f"{k:02d}{'ab'[copy]}.jpg", format=kind)
    return folder


@pytest.mark.parametrize("variant", brain_mri.VARIANTS)
def test_split_and_near_duplicates(made, variant):
    split = load_dataset("brain-mri", root=made.parent, variant=variant, test="natural")
    assert (split.name, split.abnormal) == ("brain-mri", "tumour")
    assert split.train.shape[1:] == (1, 64, 64)
    sides = [set(split.train_groups), set(split.calibration_groups), set(split.test_groups)]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 32
    assert split.test_labels.sum() == 20
    assert len(split.train) + len(split.calibration) + len(split.test) == 40
    group_of = dict(zip(split.test_ids.tolist(), split.test_groups.tolist(), strict=True))
    assert group_of["yes/04b.jpg"] == group_of["yes/04a.jpg"] == "yes/04a.jpg"
    assert group_of["yes/05a.jpg"] == "yes/05a.jpg"


def test_the_split_is_the_same_for_all_variants_and_balanced_if_asked(made):
    ids = {
        tuple(brain_mri.load(root=made, variant=variant).train_ids)
        for variant in brain_mri.VARIANTS
    }
    assert len(ids) == 1
    split = brain_mri.load(root=made, image_size=32, abnormal="tumour")
    assert split.image_size == 32
    assert split.test_labels.sum() == (~split.test_labels).sum()


@given(
    arrays(np.uint8, (6, 1, 4, 4), elements=st.sampled_from([0, 1, 2, 255])),
    st.sampled_from([0.5, 0.9, 0.98]),
)
def test_near_duplicates_are_connected_parts_of_the_correlations(pixels, threshold):
    ids = np.array([f"i{row}" for row in range(len(pixels))])
    got = brain_mri.near_duplicates(torch.from_numpy(pixels), ids, threshold)
    flat = pixels.reshape(len(pixels), -1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        related = np.nan_to_num(np.corrcoef(flat))
    if (np.abs(related - threshold) < 1e-6).any():
        return  # too near to say
    related = related > threshold
    first = list(range(len(flat)))
    for _ in first:  # hand the smallest number on until nothing changes
        first = [
            min([first[b] for b in range(len(flat)) if related[a, b]] + [first[a]])
            for a in range(len(flat))
        ]
    assert got.tolist() == [f"i{row}" for row in first]


def test_background_only_keeps_the_background_and_no_head(made):
    original = brain_mri.read(made).pixels
    background = brain_mri.read(made, variant="background").pixels
    assert original.amax() > 150
    assert background.amax() < 40  # no more than ringing of JPEG
    corner = np.s_[:, :, :4, :4]
    assert torch.equal(background[corner], original[corner])
    assert original[corner].amax() > 0


def test_a_black_image_has_no_head():
    assert not controls.head(np.zeros((32, 32), np.uint8)).any()
    two = np.zeros((64, 64), dtype=np.uint8)
    two[10:40, 10:40], two[60:62, 60:62] = 200, 200  # a head and a small label
    inside = controls.head(two)
    assert inside[8:42, 14:36].all()
    assert not inside[50:].any()


@given(arrays(np.uint8, (5, 1, 6, 6)))
def test_matched_images_have_one_mean_and_keep_their_order(pixels):
    got = controls.matched(torch.from_numpy(pixels)).numpy()
    means = got.mean((1, 2, 3), dtype=float)
    assert np.abs(means - pixels.mean(dtype=float)).max() <= 0.5  # rounding alone
    for before, after in zip(pixels.reshape(5, -1), got.reshape(5, -1), strict=True):
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order].astype(int)) >= 0).all()
        assert len(set(zip(before, after, strict=True))) == len(
            set(before)
        )  # one value stays one value


def test_re_encoding_brings_files_of_all_kinds_to_one_form(tmp_path):
    grey = head(np.random.default_rng(3), (300, 300))
    paths = []
    for kind, mode in KINDS:
        paths.append(tmp_path / f"{kind}{mode}.jpg")
        Image.fromarray(grey).convert(mode).save(
            paths[-1], format=kind, **({"quality": 95} if kind == "JPEG" else {})
        )
    got = controls.re_encoded(paths, image_size=64).float()
    assert got.shape == (5, 1, 64, 64)
    plain = torch.from_numpy(
        np.array(Image.fromarray(grey).resize((64, 64), Image.Resampling.BILINEAR))
    ).float()
    assert (got - plain).abs().mean() < 4
    rough = controls.re_encoded(paths, image_size=64, quality=5).float()
    assert (rough - plain).abs().mean() > 2 * (got - plain).abs().mean()
    with pytest.raises(ValueError, match="quality=0 given"):
        controls.re_encoded(paths, image_size=64, quality=0)


def test_facts_are_those_of_the_files(made):
    table = brain_mri.facts(made)
    assert table["id"].tolist() == brain_mri.read(made).ids.tolist()
    assert table["class"].value_counts().to_dict() == {"normal": 20, "tumour": 20}
    first = table.iloc[0]
    assert (first["width"], first["height"], first["mode"], first["format"]) == (
        150,
        160,
        "RGB",
        "JPEG",
    )
    assert first["bytes"] == (made / "no/00a.jpg").stat().st_size
    assert set(table["format"]) == {"JPEG", "PNG"}


def test_mistakes_are_named(made, tmp_path):
    for options, message in [
        ({"abnormal": "normal"}, "Choose one of: tumour"),
        ({"variant": "foggy"}, "one of original, background, re-encoded, matched"),
        ({"image_size": 50}, "image_size=50"),
        ({"test": "all"}, "test='all'"),
    ]:
        with pytest.raises(ValueError, match=message):
            brain_mri.load(root=made, **options)
    (tmp_path / "no").mkdir()
    (tmp_path / "no/1.jpg").write_bytes(b"no image")
    with pytest.raises(FileNotFoundError, match=r"holds no images yes/\*\.jpg"):
        brain_mri.read(tmp_path)
    (tmp_path / "yes").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "yes/1.jpg")
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read(.|\n)*no/1\.jpg"):
        brain_mri.read(tmp_path)
    for function in (controls.background_only, controls.matched):
        with pytest.raises(ValueError, match="grey images"):
            function(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_the_real_images(tmp_path, brain_mri_folder):
    for name in ("no", "yes"):  # so that files are decoded anew, not taken from the user's cache
        (tmp_path / name).symlink_to(brain_mri_folder / name)
    images = brain_mri.read(tmp_path)
    normal = images.classes == "normal"
    assert (normal.sum(), (~normal).sum()) == (1500, 1500)
    assert len(set(images.groups[normal])) == 404
    assert len(set(images.groups[~normal])) == 699
    assert not set(images.groups[normal]) & set(images.groups[~normal])
    assert brain_mri.read(tmp_path, variant="background").pixels.float().mean((1, 2, 3)).max() < 15
    table = brain_mri.facts(tmp_path)
    assert table["mode"].value_counts().to_dict() == {"RGB": 2891, "L": 105, "RGBA": 3, "P": 1}
    assert (table[["width", "height"]].min().min(), table[["width", "height"]].max().max()) == (
        150,
        1920,
    )
    assert table["format"].value_counts().to_dict() == {"JPEG": 2987, "PNG": 13}
