"""The cache of decoded images: what cannot be kept is decoded all the same."""

import numpy as np
import torch

from ccb_lib.datasets.base import Images
from ccb_lib.datasets.cache import cached


def test_a_full_disk_costs_the_cache_and_not_the_load(tmp_path, monkeypatch, no_file_above):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    names = np.array(["a", "b"])
    images = Images(torch.zeros((2, 3, 32, 32), dtype=torch.uint8), names, names, names)
    with no_file_above(1000):
        assert cached(tmp_path, "set", {}, lambda: images) is images
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not left
    assert cached(tmp_path, "set", {}, lambda: images) is images
    kept = cached(tmp_path, "set", {}, lambda: 1 / 0)  # from the file: nothing is decoded
    assert torch.equal(kept.pixels, images.pixels)


def test_a_cache_of_another_user_costs_the_cache_and_not_the_load(tmp_path, monkeypatch):
    """As root, who may read everything, no folder can be made unreadable."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))

    def refused(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ccb_lib.datasets.cache.load_tensors", refused)
    monkeypatch.setattr("ccb_lib.datasets.cache.save_tensors", refused)
    names = np.array(["a", "b"])
    images = Images(torch.zeros((2, 3, 32, 32), dtype=torch.uint8), names, names, names)
    assert cached(tmp_path, "set", {}, lambda: images) is images
