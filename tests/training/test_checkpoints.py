"""Checkpoints from elsewhere: whatever stands in them, the error is our own and names the file."""

import re

import pytest
import torch

from ccb_lib import CCB
from ccb_lib.io.tensors import load_tensors, save_tensors


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "c.safetensors"
    fit(path, epochs=1)
    return load_tensors(path)


def fit(path, epochs=2):
    images = torch.randint(0, 256, (16, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    detector = CCB(epochs=epochs, batch_size=8, width=2, device="cpu", chain=(1, 0, None, 0))
    detector.fit(images, resume=path, progress=False)


def refused(path, tensors, header):
    save_tensors(path, tensors, header)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        fit(path)


@pytest.mark.parametrize(
    "value", [None, [], "x", 3, [[]], [{"epoch": "1"}], [{"epoch": None}], {"a": 1}]
)
@pytest.mark.parametrize("entry", ["settings", "history"])
def test_settings_and_history_of_a_wrong_kind(checkpoint, tmp_path, entry, value):
    tensors, header = checkpoint
    if (entry, value) == ("history", []):
        pytest.skip("a history without epochs is one")
    refused(tmp_path / "c.safetensors", tensors, {**header, entry: value})


@pytest.mark.parametrize(
    "place", ["optimizer.generator.x.step", "optimizer.generator.99.step", "network.generator.y"]
)
def test_a_tensor_that_belongs_nowhere(checkpoint, tmp_path, place):
    tensors, header = checkpoint
    refused(tmp_path / "c.safetensors", {**tensors, place: torch.ones(1)}, header)


@pytest.mark.parametrize("part", ["step", "exp_avg", "exp_avg_sq"])
def test_an_optimiser_of_which_a_part_is_missing(checkpoint, tmp_path, part):
    tensors, header = checkpoint
    name = f"optimizer.generator.0.{part}"
    assert name in tensors
    refused(tmp_path / "c.safetensors", {k: v for k, v in tensors.items() if k != name}, header)
    every = {
        k: v
        for k, v in tensors.items()
        if not (k.startswith("optimizer.generator.") and k.endswith(f".{part}"))
    }
    refused(tmp_path / "c.safetensors", every, header)


def test_an_optimiser_of_another_shape(checkpoint, tmp_path):
    tensors, header = checkpoint
    refused(
        tmp_path / "c.safetensors",
        {**tensors, "optimizer.generator.0.exp_avg": torch.ones(3, 5)},
        header,
    )
