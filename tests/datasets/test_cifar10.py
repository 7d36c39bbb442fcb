import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from ccb_lib import load_dataset
from ccb_lib.datasets.cifar10 import BATCHES, CLASSES, read

pytestmark = pytest.mark.filterwarnings("ignore:CIFAR-10 in .* not 60,000")


def made(rows):
    """Images whose pixels name their row."""
    return np.stack([np.full((3, 32, 32), row % 256, np.uint8) for row in rows])


@pytest.fixture
def batches(tmp_path):
    """Torchvision's layout with 40 images in a batch; image k of a batch has class k mod 10."""
    folder = tmp_path / "raw" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, name in enumerate(BATCHES):
        batch = {
            b"batch_label": name.encode(),
            b"labels": [k % 10 for k in range(40)],
            b"data": made(range(number * 40, number * 40 + 40)).reshape(40, -1),
            b"filenames": [f"image_{number}_{k}.png".encode() for k in range(40)],
        }
        text = {key.decode(): value for key, value in batch.items()}
        text["filenames"] = [f.decode() for f in text["filenames"]]
        (folder / name).write_bytes(pickle.dumps(text, protocol=2))
    return tmp_path / "raw"


@pytest.fixture
def folders(tmp_path):
    root = tmp_path / "raw"
    for part, count in (("train", 20), ("test", 4)):
        for label, name in enumerate(CLASSES):
            folder = root / "cifar10" / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(made([label * 20 + k])[0].transpose(1, 2, 0)).save(
                    folder / f"{name}_{k:02d}.png"
                )
    return root


def test_pickled_batches(batches):
    split = load_dataset("cifar10", abnormal="cat", root=batches)
    assert (len(split.train), len(split.calibration)) == (171, 9)
    assert split.test_labels.tolist() == [False] * 36 + [True] * 24
    # normals keep the official order
    assert split.test_ids[:4].tolist() == [f"test/image_5_{k}.png" for k in (0, 1, 2, 4)]
    assert split.test[1].unique().tolist() == [201]
    official = load_dataset("cifar10", abnormal="cat", root=batches, test="official")
    assert official.test_labels.sum() == 4
    assert np.char.startswith(official.test_ids, "test/").all()


def test_class_folders_are_mixed_by_the_seed(folders):
    split = load_dataset("cifar10", abnormal="ship", root=folders)
    assert (len(split.train), len(split.calibration), len(split.test)) == (171, 9, 60)
    normals = split.test_classes[~split.test_labels]
    assert (normals[1:] == normals[:-1]).mean() < 0.5  # grouped by class it would be above 0.7
    assert (split.test_classes[split.test_labels] == "ship").all()
    other = load_dataset("cifar10", abnormal="ship", root=folders, seed=1)
    assert sorted(other.test_ids) == sorted(split.test_ids)
    assert not np.array_equal(other.test_ids, split.test_ids)


def test_pixels_and_ids_belong_together(folders):
    split = load_dataset("cifar10", abnormal="ship", root=folders)
    for pixels, name in zip(split.train, split.train_ids, strict=True):
        label, k = name.split("/")[1].removesuffix(".png").rsplit("_", 1)
        assert pixels.unique().tolist() == [CLASSES.index(label) * 20 + int(k)]


def test_no_image_is_on_two_sides(batches):
    split = load_dataset("cifar10", abnormal="dog", root=batches)
    parts = [split.train_ids, split.calibration_ids, split.test_ids]
    assert len(np.concatenate(parts)) == len(set(np.concatenate(parts)))


def test_the_cache_is_used_and_follows_the_files(folders):
    first, in_order = read(folders)
    assert not in_order
    caches = list((folders / "cifar10" / ".ccb_cache").iterdir())
    assert len(caches) == 1
    for file in (folders / "cifar10").rglob("*.png"):
        file.write_bytes(b"")  # in place: the folders' times stay, so the cache answers
    assert torch.equal(read(folders)[0].pixels, first.pixels)
    (folders / "cifar10" / "train" / "cat" / "cat_00.png").unlink()
    with pytest.raises(ValueError, match="239 images cannot be read"):
        read(folders)


def test_an_image_of_a_class_folder_starts_no_program(folders, monkeypatch, tmp_path):
    """Pillow opens EPS with the ``gs`` on the path, whatever the ending of the file."""
    started, tools = tmp_path / "started", tmp_path / "bin"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for anew
    path = folders / "cifar10" / "train" / "cat" / "cat_00.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match=r"cat_00.png: no image in a format that is read here"):
        read(folders)
    assert not started.exists()


def test_a_broken_cache_is_read_anew(folders):
    first, _ = read(folders)
    cache = next((folders / "cifar10" / ".ccb_cache").iterdir())
    cache.write_bytes(cache.read_bytes()[:1000])
    assert torch.equal(read(folders)[0].pixels, first.pixels)
    assert cache.stat().st_size > 100_000


def test_a_read_only_folder_caches_with_the_user(folders, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (folders / "cifar10" / ".ccb_cache").write_text(
        "a file in the way, as good as a read-only folder even for root"
    )
    read(folders)
    assert len(list((tmp_path / "home" / "ccb_lib").iterdir())) == 1
    assert (folders / "cifar10" / ".ccb_cache").is_file()


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/ccb_lib_was_here",))


def test_a_pickle_that_would_run_code_is_refused(batches):
    (batches / "cifar-10-batches-py" / "data_batch_2").write_bytes(
        pickle.dumps({"data": Evil()}, protocol=2)
    )
    with pytest.raises(
        ValueError, match=r"data_batch_2 is no CIFAR-10 batch \(it asks for posix.system"
    ):
        load_dataset("cifar10", abnormal="cat", root=batches)
    assert not Path("/tmp/ccb_lib_was_here").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1]),
        pickle.dumps({"data": 1}),
        pickle.dumps(
            {"data": np.zeros((2, 5), np.uint8), "labels": [0, 1], "filenames": ["a", "b"]}
        ),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [77], "filenames": ["a"]}),
    ],
)
def test_broken_batches_are_named(batches, content):
    (batches / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match="test_batch is no CIFAR-10 batch"):
        load_dataset("cifar10", abnormal="cat", root=batches)
    (batches / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(ValueError, match="lacks test_batch"):
        load_dataset("cifar10", abnormal="cat", root=batches)


def test_missing_files_and_wrong_calls(tmp_path, batches, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"No CIFAR-10 in .*ccb data fetch cifar10"):
        load_dataset("cifar10", abnormal="cat", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="root= names"):
        load_dataset("cifar10", abnormal="cat", root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Choose one of: airplane, automobile"):
        load_dataset("cifar10", abnormal="plane", root=batches)
    with pytest.raises(ValueError, match=r"'all' .* or 'official'"):
        load_dataset("cifar10", abnormal="cat", root=batches, test="some")
    with pytest.raises(ValueError, match="CIFAR-10 is 32×32"):
        load_dataset("cifar10", abnormal="cat", root=batches, image_size=64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CCB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="CCB_DATA is not set"):
        load_dataset("cifar10", abnormal="cat")
    monkeypatch.setenv("CCB_DATA", str(batches))
    assert len(load_dataset("cifar10", abnormal="cat").test) == 60


def test_a_partial_set_warns(batches):
    with pytest.warns(UserWarning, match="240 images, not 60,000"):
        load_dataset("cifar10", abnormal="cat", root=batches)


def test_the_real_thing(raw_data):
    split = load_dataset("cifar10", abnormal="airplane", root=raw_data)
    assert len(split.train) + len(split.calibration) == 45_000
    assert len(split.calibration) == 2_250
    assert len(split.test) == 15_000
    assert split.test_labels.sum() == 6_000
    images, _ = read(raw_data)
    training = images.pixels[torch.from_numpy(np.char.startswith(images.ids, "train/"))]
    means = training.float().mean((0, 2, 3))
    assert means.tolist() == pytest.approx([125.3, 123.0, 113.9], abs=0.06)
